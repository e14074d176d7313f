"""What goes into packages: that each file of the Debian package is there, and that cargo packs a crate.

`cargo deb` is no part of cargo, nor of Debian, so the package itself is not built here.
"""

import subprocess
import tomllib

import lab
from service import run

# Far below what a registry takes, and far above what the sources need.
CRATE_FILES_MAX = 200


def scenario(_world, report):
    manifest = tomllib.loads((lab.REPOSITORY / "Cargo.toml").read_text())
    debian = manifest["package"]["metadata"]["deb"]
    assets, targets = debian["assets"], set()
    for source, target, mode in assets:
        targets.add(f"/{target}")
        is_there = source == "target/release/roundel" or (lab.REPOSITORY / source).is_file()
        report.expect(is_there, f"{source} is not there")
        report.expect(mode in ("644", "755"), f"{source} has mode {mode}")
    strays = set(debian["conf-files"]) - targets
    report.expect(not strays, f"no asset is called {strays}")
    scripts = lab.REPOSITORY / debian["maintainer-scripts"]
    for script in scripts.iterdir():
        said = run("sh", "-n", script)
        report.expect(not said, f"{script.name}: {said}")

    packed = subprocess.run(["cargo", "package", "--list", "--allow-dirty", "--locked"], cwd=lab.REPOSITORY,
                            stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    names = packed.stdout.split()
    report.expect(packed.returncode == 0, f"cargo package: {packed.stderr}")
    report.expect("src/main.rs" in names and "docs/deploy/roundel.service" in names, f"packed: {names}")
    report.expect(not any(name.startswith("tests/") for name in names), "tests are packed")
    report.expect(len(names) <= CRATE_FILES_MAX, f"{len(names)} files are packed")
    report.say(f"{len(assets)} files in the Debian package, {len(names)} in the crate")
