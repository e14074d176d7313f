"""The manifest for Kubernetes: its numbers among each other, and in the full form its schema.

The schema comes with a package of Python, which is fetched into a folder of its own. No cluster is
asked: what it would do with the manifest has not been seen.
"""

import re
import subprocess
import sys
import textwrap

import lab
from service import run, seconds_of

VALIDATOR = "kubernetes-validate==1.37.0"
MIB = 1 << 20
# What --check says of a client whose request is under way while nobody takes what was sent.
CLIENT_BYTES_MAX = 848 * 1024


def scenario(world, report):
    text = (lab.DEPLOY / "kubernetes.yaml").read_text()
    embedded = re.search(r"\n  roundel\.toml: \|\n((?:    .*\n|\n)+)", text).group(1)
    file = world.new_folder("config") / "roundel.toml"
    file.write_text(textwrap.dedent(embedded))
    said = run(world.binary, "--config", file, "--check")
    report.expect(said.endswith("\nok\n"), f"roundel does not like the file in the manifest: {said}")
    report.expect(f"{CLIENT_BYTES_MAX // 1024}KiB for each client" in said, "a client costs something else")

    drain = seconds_of(embedded, "drain_delay") + seconds_of(embedded, "drain_timeout")
    patience = int(re.search(r"terminationGracePeriodSeconds: (\d+)", text).group(1))
    report.expect(drain < patience, f"{drain} s of draining in {patience} s")
    clients = int(re.search(r"max_conns = (\d+)", embedded).group(1))
    memory = int(re.search(r"limits: .*memory: (\d+)Gi", text).group(1)) * 1024 * MIB
    report.expect(clients * CLIENT_BYTES_MAX < memory, f"{clients} clients do not fit {memory} octets")
    for asked in ("path: /healthz, port: admin", "path: /ready, port: admin", "runAsNonRoot: true",
                  "readOnlyRootFilesystem: true", "drop: [ALL]"):
        report.expect(asked in text, f"the manifest has no {asked}")
    report.say(f"drains for {drain} s of {patience} s")
    if not world.quick:
        check_schema(world, report)


def check_schema(world, report):
    environment = world.new_folder("validator")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([environment / "bin" / "pip", "install", "-q", "--disable-pip-version-check", VALIDATOR],
                   check=True, stdin=subprocess.DEVNULL)
    done = subprocess.run(
        [environment / "bin" / "kubernetes-validate", "--strict", lab.DEPLOY / "kubernetes.yaml"],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True,
    )
    passed = done.stderr.count(" passed for resource ") + done.stdout.count(" passed for resource ")
    report.say(f"{passed} resources fit the schema of {VALIDATOR}")
    report.expect(done.returncode == 0 and passed == 3, f"the schema is not met: {done.stdout}{done.stderr}")
