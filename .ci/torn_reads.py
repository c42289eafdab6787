"""A reader whose object is replaced between two of its reads: it gets old rows, new rows or an error.

    torn_reads.py REPLAY WORK [PAIRS [SEED]]

REPLAY is a build of examples/replay.rs. Each pair is an object and its next version, in which one value
of one call is another of the same length; the larger ones have several row groups. pyarrow reads it in
several reads, as from an object store that it asks without saying which version it means, and the
object is replaced before each of them in turn. Exits 1 if any of the reads gives a mixture.
"""

import io
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as parquet

replay, work = sys.argv[1], Path(sys.argv[2])
pairs = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
rng = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
PERSON = {"name": "A Person", "email": "person@example.com", "phone": "", "personId": 2}


def word(length):
    return "".join(rng.choices("abcdefghijklmnop", k=length))


def call(number, words):
    return {
        "id": f"{number:024x}", "title": word(words), "status": rng.choice(["PROCESSED", "COMPLETED"]),
        "time": f"2026-11-{rng.randint(1, 28):02}T{number // 60 % 24:02}:{number % 60:02}:00.000Z",
        "externalParticipants": [PERSON] * rng.randint(0, 3), "account_name": word(8),
        "metrics": {"call_duration": rng.randint(100, 999), "talk_listen_ratio": rng.randint(10, 99) / 100},
    }


def changed(of):
    """The same call with one value of the same length changed."""
    it = json.loads(json.dumps(of))
    what = rng.choice(["title", "account_name", "call_duration", "talk_listen_ratio"])
    if what in it:
        it[what] = word(len(it[what]))
    else:
        of = it["metrics"][what]
        it["metrics"][what] = rng.randint(100, 999) if what == "call_duration" else round(1 - of, 2) or 0.5
    return it


def written(calls, lake):
    source = lake.with_suffix(".ndjson")
    source.write_text("".join(json.dumps(it) + "\n" for it in calls))
    subprocess.run([replay, "calls", source, lake, "--by-month"], check=True, stdout=subprocess.DEVNULL)
    [path] = lake.glob("calls/*/*.parquet")
    return path.read_bytes()


class Replaced(io.RawIOBase):
    """A file that is replaced before one of its reads."""

    def __init__(self, old, new, before):
        self.old, self.new, self.before, self.reads, self.at = old, new, before, 0, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, to, whence=0):
        # How large it is, is asked once.
        self.at = to + [0, self.at, len(self.old)][whence]
        return self.at

    def tell(self):
        return self.at

    def read(self, size=-1):
        of = self.new if self.reads >= self.before else self.old
        self.reads += 1
        got = of[self.at:] if size < 0 else of[self.at:self.at + size]
        self.at += len(got)
        return got


def read(file, prefetches):
    return parquet.ParquetFile(file, pre_buffer=prefetches).read(use_threads=False)


mixtures = counts = errors = olds = 0
for pair in range(pairs):
    lake = work / f"pair-{pair}"
    lake.parent.mkdir(parents=True, exist_ok=True)
    # One in ten has several row groups, of which some are copied.
    calls = [call(number, 40) for number in range(rng.randint(1, 60))]
    if pair % 10 == 0:
        calls = [call(number, 9_000) for number in range(1_200)]
    old = written(calls, lake)
    new = written([changed(rng.choice(calls))], lake)
    is_old, is_new = (parquet.read_table(io.BytesIO(it)) for it in (old, new))
    assert not is_old.equals(is_new) and len(is_old) == len(is_new)
    for prefetches in (False, True):
        whole = Replaced(old, new, 1 << 30)
        read(whole, prefetches)
        for before in range(1, whole.reads):
            counts += 1
            try:
                got = read(Replaced(old, new, before), prefetches)
            except Exception:
                errors += 1
                continue
            olds += got.equals(is_old)
            if not got.equals(is_old) and not got.equals(is_new):
                mixtures += 1
                print(f"pair {pair}, replaced before read {before}: a mixture", flush=True)
    shutil.rmtree(lake)
    lake.with_suffix(".ndjson").unlink()
print(f"{counts} reads of {pairs} pairs: {errors} errors, {olds} old, {mixtures} mixtures")
sys.exit(mixtures > 0)
