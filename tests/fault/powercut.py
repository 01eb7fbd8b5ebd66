"""Power cuts under the store: what the C program beside this file (power_cut.c) says of them."""
import json
import subprocess

LIMIT_S = 3 * 3600


def cut(build, mode, cuts, seed):
    """The figures of one mode. Raises with what it says where a promise was broken, or the harness was blind."""
    program = build / "tests" / "fault" / "power_cut"
    assert program.exists(), f"{program} is not built: make tools"
    done = subprocess.run([program, str(cuts), str(seed), mode], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, f"power_cut {cuts} {seed} {mode}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def run(build, cuts, seed, say=print):
    """As the product runs, with a cut in every call too; then worse than it runs, where loss and damage must show."""
    figures = {"full": cut(build, "full", cuts, seed)}
    say(f"  full: {figures['full']}")
    for mode, count in (("every", max(1, cuts // 10_000)), ("normal", max(1500, cuts // 50)),
                        ("no-journal", max(1500, cuts // 50)), ("lying", max(1500, cuts // 50))):
        figures[mode] = cut(build, mode, count, seed)
        say(f"  {mode}: {figures[mode]}")
    return figures
