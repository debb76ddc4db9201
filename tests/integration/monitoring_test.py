#!/usr/bin/env python3
"""What operators get for Prometheus and Grafana: the rules do what their scenarios say, every
expression of the dashboard parses, and every metric that rules and dashboard name is one that a real
node serves or a rule records. Every alert has its runbook.

usage: monitoring_test.py TOP DRIFTLOCKD DRIFTLOCK
"""

import contextlib
import json
import pathlib
import re
import shutil
import sys
import tempfile

from netns import Namespace, need_namespaces, run, skip
from node_site import Site, fetch

NAME = re.compile(r"\bdriftlock[_:][a-z0-9_:]+")
SUFFIXES = ("_bucket", "_sum", "_count")


def dashboard_expressions(path):
    dashboard = json.loads(path.read_text())
    out = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    out += [each["expr"] for each in dashboard["annotations"]["list"]]
    return [expression.replace("$instance", ".*") for expression in out]


def check_expressions(expressions, folder):
    rules = {"groups": [{"name": "dashboard", "rules": [
        {"record": f"dashboard:{i}", "expr": text} for i, text in enumerate(expressions)]}]}
    path = pathlib.Path(folder) / "dashboard-rules.yml"
    path.write_text(json.dumps(rules))  # JSON is YAML
    run(["promtool", "check", "rules", path])


def check_names(wanted, served, recorded):
    def is_served(name):
        return name in served or any(
            name.endswith(suffix) and name.removesuffix(suffix) in served for suffix in SUFFIXES)
    missing = sorted(name for name in wanted if not is_served(name) and name not in recorded)
    assert not missing, f"nobody serves or records: {missing}"


def served_names(site):
    with site.daemon() as daemon:
        daemon.wait_for("driftlockd ready")
        text = fetch(site, "http://127.0.0.1:9478/metrics")
    return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))


def main():
    top, driftlockd, driftlock = sys.argv[1:]
    folder = pathlib.Path(top) / "tools/monitoring"
    need_namespaces()
    if not shutil.which("promtool"):
        skip("no promtool: apt-get install prometheus")
    run(["promtool", "check", "rules", folder / "driftlock-rules.yml"])
    print(run(["promtool", "test", "rules", folder / "driftlock-rules-test.yml"]))
    rules = (folder / "driftlock-rules.yml").read_text()
    recorded = set(re.findall(r"- record: (\S+)", rules))
    expressions = dashboard_expressions(folder / "grafana-dashboard.json")
    runbook = (pathlib.Path(top) / "docs/operations.md").read_text()
    for alert in re.findall(r"- alert: (\S+)", rules):
        assert f"### {alert}\n" in runbook, f"docs/operations.md has no runbook for {alert}"
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="driftlock-monitoring."))
        check_expressions(expressions, scratch)
        site = Site(scratch, stack.enter_context(Namespace("mon")), driftlockd, driftlock)
        site.configure("[clock]\ntrust_unsynchronized = true\n")
        wanted = set(NAME.findall(rules)) | set(NAME.findall("\n".join(expressions)))
        check_names(wanted, served_names(site), recorded)
    print(f"{len(expressions)} expressions, {len(wanted)} metrics")


if __name__ == "__main__":
    main()
