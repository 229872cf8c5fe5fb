"""The arithmetic of `logship plan`, its answers, and what it refuses."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from logship._settings import MIB, Settings, buffer_bytes_for
from tests.plan.asking import planned, told

LOAD = ("--rate", "300/s", "--memory", "512MiB")


def outcomes(plan: Any) -> dict[str, bool]:
    return {each["name"]: each["fits"] for each in plan["verdicts"]}


def test_the_verdict_comes_first() -> None:
    result = told(*LOAD)
    assert result.exit_code == 0
    head, outage, *_ = result.output.splitlines()
    assert head == "fits: 300 records/s of 400 bytes in 1 task, fluent-bit with 0.25 vCPU"
    assert outage == "  ok   A sidecar outage of up to 3 min 50 s loses nothing."


def test_the_buffer_is_the_clients_own_default() -> None:
    plan = planned(*LOAD)
    assert plan["held_bytes_per_process"] == buffer_bytes_for(512 * MIB) == 32 * MIB
    covered = 32 * MIB / (300 * plan["record_bytes"])
    assert plan["outage_covered_seconds"] == pytest.approx(covered)


@pytest.mark.parametrize("rate", ["300", "300/s", "18000/min", "18k/min", "1.08M/h"])
def test_a_rate_has_units(rate: str) -> None:
    assert planned("--rate", rate)["deployment"]["records_per_second"] == pytest.approx(300)


def test_each_of_several_workers_has_a_buffer_and_a_part_of_the_load() -> None:
    one, four = planned(*LOAD), planned(*LOAD, "--workers", "4")
    assert four["outage_covered_seconds"] == pytest.approx(4 * one["outage_covered_seconds"])
    assert four["drain_seconds"] == pytest.approx(4 * one["drain_seconds"])


def test_a_spool_takes_the_buffers_place_and_has_whole_segments() -> None:
    plan = planned(*LOAD, "--spool-size", "16MiB")
    assert plan["held_bytes_per_process"] == 12 * MIB
    assert plan["client_cores"] > planned(*LOAD)["client_cores"]


def test_a_backlog_is_caught_up_beside_the_load() -> None:
    load = ("--rate", "10k/s", "--outage", "60", "--sidecar", "fluentd", "--spool-size", "1GiB")
    plan = planned(*load)
    spare = plan["sidecar_headroom"] * 10_000 - 10_000
    assert plan["catch_up_seconds"] == pytest.approx(60 * 10_000 / spare)
    assert planned(*load, "--cpu", "0.1")["catch_up_seconds"] is None


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("--outage", "5m", "outage"),
        ("--stop-timeout", "1", "stop"),
        ("--workers", "10", "memory"),
        ("--cpu", "0.01", "sidecar"),
        ("--sidecar-memory", "64MiB", "sidecar-memory"),
    ],
)
def test_one_thing_that_does_not_fit(option: str, value: str, name: str) -> None:
    load = ("--rate", "2000", "--memory", "512MiB", option, value)
    result, plan = told(*load), planned(*load)
    assert result.exit_code == 1
    assert result.output.startswith("DOES NOT FIT: ")
    assert [key for key, fits in outcomes(plan).items() if not fits] == [name]


def test_recommended_settings_are_what_the_client_takes() -> None:
    lines = planned(*LOAD, "--outage", "5m")["recommended"]
    assert lines == [
        "LOGSHIP_BUFFER_BYTES_MAX=53MiB",
        '"memory": 128  # container of the sidecar',
        "# volume of the sidecar: 1.016 GiB",
    ]
    environ = dict(line.split("=") for line in lines if line.startswith("LOGSHIP"))
    assert Settings.from_env(environ).buffer_bytes_max == 53 * MIB
    assert planned(*LOAD, "--outage", "5m", "--buffer-size", "53MiB")["fits"]


def test_a_buffer_that_memory_does_not_allow_becomes_a_spool() -> None:
    lines = planned("--rate", "3000", "--memory", "512MiB", "--outage", "5m")["recommended"]
    environ = dict(
        shlex.split(line, comments=True)[0].split("=")
        for line in lines
        if line.startswith("LOGSHIP")
    )
    assert set(environ) == {"LOGSHIP_SPOOL_DIR", "LOGSHIP_SPOOL_BYTES_MAX"}
    assert Settings.from_env(environ).spool_bytes_max == 528 * MIB


def test_no_buffer_is_recommended_in_which_records_would_be_cut_off() -> None:
    load = ("--rate", "10", "--record-size", "500kB", "--memory", "128MiB")
    plan = planned(*load, "--workers", "40")
    environ = dict(line.split("=") for line in plan["recommended"] if line.startswith("LOGSHIP_B"))
    size = Settings.from_env(environ).buffer_bytes_max
    assert size == pytest.approx(2 * plan["record_bytes"], abs=1)
    assert planned(*load, "--workers", "40", "--buffer-size", str(size))["fits"]


def test_too_little_memory_for_the_records_of_all_processes_is_told() -> None:
    load = ("--rate", "10", "--record-size", "1MB", "--memory", "128MiB", "--workers", "60")
    result = told(*load)
    assert result.exit_code == 1
    assert "Give the application more memory, or fewer processes." in result.output


def test_a_stop_timeout_is_recommended_twice() -> None:
    lines = planned("--rate", "300", "--sidecar", "fluentd", "--stop-timeout", "9")["recommended"]
    assert lines[:2] == [
        "LOGSHIP_STOP_TIMEOUT_SECONDS=16",
        '"stopTimeout": 16  # container of the application',
    ]


def test_a_load_that_no_setting_helps_is_told() -> None:
    result = told("--rate", "100k/s", "--sidecar", "fluentd")
    assert result.exit_code == 1
    assert "No setting helps: With 1 vCPU the sidecar can pass on 0.4 times" in result.output


def test_a_sidecars_volume_is_for_an_outage_of_its_destination() -> None:
    load = ("--rate", "3000", "--outage", "1h", "--sidecar", "fluentd")
    lines = planned(*load, "--destination", "s3")["recommended"]
    assert lines[-2:] == [
        "LOGSHIP_BUFFER_SIZE=5006m  # container of the sidecar",
        "# volume of the sidecar: 4.904 GiB",
    ]


def test_costs_are_of_all_tasks_for_a_month() -> None:
    plan = planned(*LOAD, "--tasks", "10", "--destination", "cloudwatch")
    told_of = plan["destinations"]["cloudwatch"]
    assert told_of["gb_per_month"] == pytest.approx(300 * 10 * 30 * 86_400 * 486 / 1e9)
    price = told_of["price"]["per_gb"]
    assert told_of["dollars_per_month"] == pytest.approx(told_of["gb_per_month"] * price)
    assert {"source", "region", "date"} <= set(told_of["price"])


def test_records_and_objects_cost_too() -> None:
    plan = planned("--rate", "1", "--tasks", "2")
    datadog, s3 = (plan["destinations"][name] for name in ("datadog", "s3"))
    records = 2 * 30 * 86_400 / 1e6
    by_size = datadog["gb_per_month"] * datadog["price"]["per_gb"]
    by_record = records * datadog["price"]["per_million_records"]
    assert datadog["dollars_per_month"] == pytest.approx(by_size + by_record)
    by_size = s3["gb_per_month"] * s3["price"]["per_gb"]
    by_object = 2 * 30 * 24 * 60 * s3["price"]["per_object"]
    assert s3["dollars_per_month"] == pytest.approx(by_size + by_object)


def test_firehose_bills_multiples() -> None:
    plan = planned("--rate", "1", "--record-size", "5120", "--destination", "firehose")
    assert plan["destinations"]["firehose"]["gb_per_month"] == pytest.approx(
        30 * 86_400 * 10_240 / 1e9
    )


def test_no_price_is_invented() -> None:
    options = ("--rate", "300", "--destination", "splunk")
    assert planned(*options)["destinations"]["splunk"]["dollars_per_month"] is None
    assert "no list price known" in told(*options).output
    every = told("--rate", "300").output
    assert every.count("no list price known") == 2, "Firehose bills in steps; others share a row"
    own = planned(*options, "--price-per-gb", "2")["destinations"]["splunk"]
    assert own["dollars_per_month"] == pytest.approx(2 * own["gb_per_month"])


def test_a_price_of_zero_is_a_price() -> None:
    plan = planned("--rate", "300", "--destination", "kafka", "--price-per-gb", "0")
    assert plan["destinations"]["kafka"]["dollars_per_month"] == 0


def test_compression_has_a_caveat() -> None:
    assert "The CPU of gzip was not measured" in told(*LOAD, "--compress", "gzip").output
    assert "not measured" not in told(*LOAD).output


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("", "Missing option '--rate'"),
        ("--rate 0", "'--rate': '0' is not allowed; give 0.001 to"),
        ("--rate nan", "'--rate': 'nan' is not allowed"),
        ("--rate 300/d", "give a number of records a second, or one with a time: 300/s"),
        ("--rate 1 --cpu nan", "'--cpu': 'nan' is not allowed; give a number"),
        ("--rate 1 --cpu 0", "'--cpu': '0' is not allowed; give 0.01 to 256"),
        ("--rate 1 --memory 512Mi5", "'--memory': '512Mi5' is not allowed"),
        ("--rate 1 --spool-size 1MiB", "'--spool-size': '1MiB' is not allowed; give at least"),
        ("--rate 1 --stop-timeout 0", "'--stop-timeout': '0' is not allowed; give 0.5s to"),
        ("--rate 1 --outage -5m", "'--outage': '-5m' is not allowed; give 0s to 31622400s"),
        ("--rate 1 --record-size 6MB", "'--record-size': '6MB' is not allowed; give 1 to 5MB"),
        ("--rate 1 --record-size 3MB --memory 64MiB", "two records do not fit into the buffer"),
        ("--rate 1 --workers 0", "'--workers'"),
        (f"--rate 1 --spool-size {10**300}", "is not allowed; give a smaller one"),
        ("--rate 1 --destination nowhere", "'--destination'"),
        ("--rate 1 --price-per-gb 1", "give --destination, of which it is the price"),
        ("--rate 1 --destination s3 --price-per-gb nan", "'--price-per-gb': 'nan'"),
        (
            "--rate 1 --sidecar fluentd --destination aggregators",
            "fluentd has no configuration for aggregators; give --sidecar fluent-bit",
        ),
    ],
)
def test_usage_is_2(options: str, text: str) -> None:
    result = told(*options.split())
    assert result.exit_code == 2
    assert text in result.output
