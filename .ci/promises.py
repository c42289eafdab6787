"""What was promised, and whether it held; and how the tool is run."""

import json
import subprocess


class Promises:
    """What was promised, and whether it held."""

    def __init__(self):
        self.broken = 0
        self.held = 0

    def check(self, promise, problems):
        """Says that a promise holds, or where it does not."""
        problems = list(problems)
        self.broken += bool(problems)
        self.held += not problems
        print(f"{'BROKEN' if problems else 'ok':6} {promise}", flush=True)
        for problem in problems[:10]:
            print(f"       {str(problem)[:2000]}", flush=True)


def output(binary, *arguments, env=None, allowed=(0,)):
    """A command's JSON."""
    return json.loads(text(binary, *arguments, env=env, allowed=allowed))


def text(binary, *arguments, env=None, allowed=(0,)):
    """What a command says on stdout."""
    ran = subprocess.run([binary, *arguments], stdout=subprocess.PIPE, env=env)
    if ran.returncode not in allowed:
        raise SystemExit(f"{' '.join(arguments)} ended with {ran.returncode}")
    return ran.stdout.decode()
