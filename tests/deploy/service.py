"""The service for systemd: that systemd understands every word of it, and how little it may do."""

import re
import subprocess

import lab

# By systemd's own measure, on which 10 is a service with all rights.
EXPOSURE_MAX = 2.0


def scenario(world, report):
    folder = world.new_folder("units")
    units = [copy_with_binary(world, folder, name) for name in ("roundel.service", "roundel.socket")]
    said = run("systemd-analyze", "verify", "--man=no", *units)
    report.expect(not said.strip(), f"systemd does not like it: {said}")

    said = run("systemd-analyze", "security", "--offline=true", units[0])
    found = re.search(r"Overall exposure level .*?: ([\d.]+)", said)
    report.expect(found, f"no exposure was told: {said[-500:]}")
    if found:
        report.say(f"exposure {found.group(1)} of 10")
        report.expect(float(found.group(1)) <= EXPOSURE_MAX, f"exposure over {EXPOSURE_MAX}")
    check_configuration(world, report)


def copy_with_binary(world, folder, name):
    """The unit with this roundel in it: systemd asks whether it can be run."""
    copy = folder / name
    copy.write_text((lab.DEPLOY / name).read_text().replace("/usr/bin/roundel", str(world.binary)))
    return copy


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, text=True)
    return done.stdout


def check_configuration(world, report):
    """The file that comes with the service, and that the service waits as long as it says."""
    text = (lab.DEPLOY / "roundel.toml").read_text()
    file = world.new_folder("config") / "roundel.toml"
    file.write_text(text.replace("/var/log/roundel", str(file.parent)))
    said = run(world.binary, "--config", file, "--check")
    report.expect(said.endswith("\nok\n"), f"roundel does not like its file: {said}")
    drain = sum(seconds_of(text, name) for name in ("drain_delay", "drain_timeout"))
    unit = (lab.DEPLOY / "roundel.service").read_text()
    patience = int(re.search(r"^TimeoutStopSec=(\d+)s$", unit, re.M).group(1))
    report.say(f"a stop takes at most {drain} s, and is waited for {patience} s")
    report.expect(drain < patience, f"{drain} s of draining in {patience} s")


def seconds_of(text, name):
    """A duration in a file of roundel, also where it is only suggested."""
    return int(re.search(rf'^ *#?{name} = "(\d+)s"$', text, re.M).group(1))
