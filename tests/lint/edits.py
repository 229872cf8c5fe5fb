"""Changes of one line in a template of `sidecar/`: each is a mistake that one rule finds."""

from __future__ import annotations

from dataclasses import dataclass

CONF = "sidecar/fluentd/fluent.conf"
OUTPUTS = "sidecar/fluentd/outputs"
BUFFER = f"{OUTPUTS}/buffer.conf"
BIT = "sidecar/fluent-bit/conf"
FLUENTD_IMAGE = "sidecar/fluentd/Dockerfile"
BIT_IMAGE = "sidecar/fluent-bit/Dockerfile"


@dataclass(frozen=True)
class Edit:
    """A mistake in a text.

    Attributes:
        rule: The rule that must find it.
        path: The template.
        old: What is there.
        new: What stands there after it.
    """

    rule: str
    path: str
    old: str
    new: str

    @property
    def name(self) -> str:
        """What pytest calls it."""
        return f"{self.rule}-{self.path.rpartition('/')[2]}-{self.new.strip()[:30]}"


CONFIGURATIONS = (
    Edit("memory-buffer", f"{OUTPUTS}/aggregator.conf", "@include buffer.conf", ""),
    Edit("memory-buffer", f"{OUTPUTS}/s3.conf", "@include buffer.conf", "@type memory"),
    Edit("memory-buffer", f"{BIT}/logship.yaml", "storage.type: filesystem", "mem_buf_limit: 5M"),
    Edit(
        "memory-buffer", f"{BIT}/logship.yaml", "storage.type: filesystem", "storage.type: memory"
    ),
    Edit("buffer-overflow", BUFFER, "action block", "action drop_oldest_chunk"),
    Edit("forward-ack", f"{OUTPUTS}/aggregator.conf", "require_ack_response true", ""),
    Edit(
        "forward-ack",
        f"{BIT}/outputs/aggregator.yaml",
        "require_ack_response: true",
        "require_ack_response: off",
    ),
    Edit("retry-limit", BUFFER, "retry_forever true", "retry_max_times 5"),
    Edit("retry-limit", BUFFER, "retry_forever true", "retry_timeout 1h"),
    Edit("retry-limit", f"{BIT}/outputs/loki.yaml", "retry_limit: no_limits", "retry_limit: 3"),
    Edit(
        "retry-limit",
        f"{BIT}/outputs/loki.yaml",
        "retry_limit: no_limits",
        "retry_limit: no_retries",
    ),
    Edit("retry-limit", f"{BIT}/outputs/file.yaml", "      retry_limit: no_limits\n", ""),
    Edit(
        "buffer-limit",
        f"{BIT}/outputs/kafka.yaml",
        "retry_limit: no_limits",
        "retry_limit: no_limits\n      storage.total_limit_size: 100M",
    ),
    Edit("chunk-limit", BUFFER, "chunk_limit_size 8m", "chunk_limit_size 64k"),
    Edit("chunk-limit", BUFFER, "chunk_limit_size 8m", "chunk_limit_size 2g"),
    Edit("chunk-limit", f"{OUTPUTS}/kafka.conf", "chunk_limit_size 900k", "chunk_limit_size 90k"),
    Edit("chunk-limit", CONF, "  @label @LOGSHIP\n", "  @label @LOGSHIP\n  chunk_size_limit 1m\n"),
    Edit(
        "chunk-limit",
        f"{BIT}/logship.yaml",
        "buffer_max_size: ${LOGSHIP_FRAME_SIZE_MAX}",
        "buffer_max_size: 1M",
    ),
    Edit("fluent-bit-grace", f"{BIT}/logship.yaml", "grace: ${LOGSHIP_GRACE_SECONDS}", "grace: 3"),
    Edit("fluent-bit-grace", f"{BIT}/logship.yaml", "  grace: ${LOGSHIP_GRACE_SECONDS}\n", ""),
    Edit(
        "match-nothing", f"{BIT}/outputs/file.yaml", "  outputs:", "  outputs:\n    - name: stdout"
    ),
    Edit(
        "match-nothing",
        CONF,
        "<label @LOGSHIP>",
        "<label @LOGSHIP>\n  <match **>\n    @type null\n  </match>",
    ),
    Edit(
        "forward-metadata",
        f"{BIT}/outputs/aggregator.yaml",
        "retain_metadata_in_forward_mode: false",
        "",
    ),
    Edit(
        "forward-metadata",
        f"{BIT}/outputs/aggregator.yaml",
        "retain_metadata_in_forward_mode: false",
        "retain_metadata_in_forward_mode: true",
    ),
)

DOCKERFILES = (
    Edit("shell-entrypoint", BIT_IMAGE, "ENTRYPOINT [", "ENTRYPOINT fluent-bit; true\n# ["),
    Edit("shell-entrypoint", FLUENTD_IMAGE, "USER fluent", "ENTRYPOINT cd /; fluentd"),
    Edit("npm-entrypoint", FLUENTD_IMAGE, "USER fluent", 'CMD ["npm", "start"]'),
    Edit("script-entrypoint", FLUENTD_IMAGE, "USER fluent", 'ENTRYPOINT ["/bin/start.sh"]'),
    Edit("blind-ack", BIT_IMAGE, "fluent-bit:5.1.1\n", "fluent-bit:4.2.1\n"),
    Edit("unknown-output", FLUENTD_IMAGE, "USER fluent", "ENV LOGSHIP_OUTPUT=s4"),
    Edit("sidecar-variable", BIT_IMAGE, "LOGSHIP_BIND=", "LOGSHIP_BINDS="),
    Edit("plain-secret", BIT_IMAGE, "LOGSHIP_PORT=24224", "LOGSHIP_AGGREGATOR_SHARED_KEY=hidden"),
)
