"""The benchmarks are judged too: a judge that cannot say LOST proves nothing."""
