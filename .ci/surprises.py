"""Records full of surprises: sent as JSON, read from Parquet, put together again, and compared.

It knows only what the README says of `extra_json`: an object over an object, a list over a list of
the same length with null for nothing to add, and anything else instead of what the column says.

    surprises.py BINARY FOLDER [COUNT] [SEED]
"""

import datetime
import decimal
import json
import random
import re
import sys
from pathlib import Path

import duckdb
import pyarrow.dataset

from promises import Promises, output
from workspace import Workspace, environment

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
TEXTS = ["", "a", "NaN", "null", "12", "1.5", "true", "2025-06-11T12:00:00Z", "2025-06-11", "ünï",
         "a\u0000b", "\\\"\n\u2028", "\U0001f600", "{}", "[1]", "TBD", "00:12", "-0", "x" * 3000]
NUMBERS = ["0", "-0", "-0.0", "1", "1.0", "1e2", "1.5", "0.1", "-7", "9007199254740993",
           "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e400", "1e-400",
           "0.30000000000000004", "0.3000000000000000001", "123456789012345678901234567890",
           "2.5E-3", "5e-324", "1.7976931348623157e308", "100000000000000000000.0"]
# What no number is, and lenient parsers take for one.
NO_NUMBERS = ["007", "5-3", "1e", "1.", "--1"]
INSTANTS = ["2025-06-11T12:00:00.000Z", "2025-06-11T12:00:00.123456Z", "2025-06-11T14:00:00+02:00",
            "2025-06-11T12:00:00+0000", "2025-06-11T12:00:00.1234567Z", "2025-06-11",
            "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-10:00",
            "2025-06-31T00:00:00Z", "2025-06-11T12:00:00", "1700000000", ""]
NAMES = ["mood", "Mood", "MOOD", "", "a.b", "a b", "dt", "DT", "extra_json", "deleted_at", "id ",
         "ID", "0", "ünï", "x" * 200, "select", "o'x", "\"", "new_field", "userId", "element"]
DECLARED = ["title", "users", "externalParticipants", "status", "bot_not_join_reason", "metrics",
            "last_modified_time", "deal_value", "deal_close_date", "contact_names", "crm_info",
            "bookmark_timestamps", "icaluid", "type"]
FIELDS = ["userId", "personId", "name", "isOrganizer", "talk_listen_ratio", "call_duration",
          "categories", "contact_ids", "occurences", "phrases_matched", "time", "text", "extra"]


class Writer:
    """Writes random JSON as text, so that every spelling of a value can occur."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def scalar(self):
        kind = self.random.random()
        if kind < 0.35:
            return json.dumps(self.random.choice(TEXTS), ensure_ascii=self.random.random() < 0.5)
        if kind < 0.59:
            return self.random.choice(NUMBERS)
        if kind < 0.6:
            # Marked, since the record is written in two ways: as it is sent, and as what it means.
            return f"\x01{self.random.choice(NO_NUMBERS)}\x01"
        if kind < 0.75:
            return json.dumps(self.random.choice(INSTANTS))
        return self.random.choice(["null", "true", "false", "{}", "[]"])

    def value(self, depth=0):
        kind = self.random.random()
        if depth > 4 or kind < 0.45:
            return self.scalar()
        if kind < 0.7:
            items = [self.value(depth + 1) for _ in range(self.random.randrange(4))]
            return "[%s]" % ",".join(items)
        return self.object(self.random.sample(NAMES + FIELDS, self.random.randrange(6)), depth)

    def object(self, names, depth=0):
        # Now and then a name stands twice.
        names = names + [name for name in names if self.random.random() < 0.03]
        members = ("%s:%s" % (json.dumps(name), self.value(depth + 1)) for name in names)
        return "{%s}" % ", ".join(members)

    def likely(self, field):
        """What the API would send, nearly."""
        pick = self.random.choice
        person = lambda: self.object(self.random.sample(FIELDS[:4], 3), 4)
        return {
            "title": lambda: json.dumps(pick(TEXTS)),
            "users": lambda: "[%s]" % ",".join(person() for _ in range(self.random.randrange(3))),
            "metrics": lambda: self.object(self.random.sample(FIELDS, 5), 3),
            "last_modified_time": lambda: json.dumps(pick(INSTANTS)),
            "deal_close_date": lambda: json.dumps(pick(INSTANTS)),
            "contact_names": lambda: json.dumps([pick(TEXTS), None]),
            "bookmark_timestamps": lambda: json.dumps([pick(INSTANTS), pick(INSTANTS)]),
        }.get(field, self.scalar)()

    def record(self, number, time):
        fields = self.random.sample(DECLARED, self.random.randrange(len(DECLARED)))
        members = ['"id":"r%d"' % number, '"time":"%s"' % time]
        for field in fields:
            value = self.value() if self.random.random() < 0.25 else self.likely(field)
            members.append("%s:%s" % (json.dumps(field), value))
        for name in self.random.sample(NAMES, self.random.randrange(4)):
            members.append("%s:%s" % (json.dumps(name), self.value()))
        if number % 500 == 7:
            members.append('"deep":%s1%s' % ('{"n":' * 60, "}" * 60))
            members.append('"deeper":%s%s' % ("[" * 400, "]" * 400))
        if number % 5000 == 11:
            members.append('"text":%s' % json.dumps("long " * 400_000))
        self.random.shuffle(members)
        return "{%s}" % ",".join(members)


def instant(text):
    """The microseconds of an ISO 8601 instant with a zone, which is all that makes it the same."""
    if not isinstance(text, str) or len(text) < 20 or text[4] != "-":
        return None
    try:
        parsed = datetime.datetime.fromisoformat(text.replace("+0000", "+00:00"))
        return parsed.astimezone(datetime.timezone.utc) if parsed.tzinfo else None
    except (ValueError, OverflowError):
        return None


def plain(value):
    """A value with null members left out, equal numbers and equal instants being equal."""
    if isinstance(value, dict):
        return {name: plain(it) for name, it in value.items() if it is not None}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return ("said", value)
    if isinstance(value, float):
        value = decimal.Decimal(repr(value))
    if isinstance(value, (int, decimal.Decimal)):
        value = decimal.Decimal(value)
        return ("number", value, value.is_signed())
    return value


def same(sent, found):
    """Whether a value of the lake is the one that was sent."""
    if isinstance(found, datetime.datetime):
        return instant(sent) == found
    if isinstance(sent, dict) and isinstance(found, dict):
        return sent.keys() == found.keys() and all(same(sent[it], found[it]) for it in sent)
    if isinstance(sent, list) and isinstance(found, list):
        return len(sent) == len(found) and all(map(same, sent, found))
    return type(sent) is type(found) and sent == found


def merge(column, extra):
    if extra is None:
        return column
    if isinstance(column, dict) and isinstance(extra, dict):
        merged = {name: merge(it, extra.get(name)) for name, it in column.items()}
        return merged | {name: it for name, it in extra.items() if name not in column}
    if isinstance(column, list) and isinstance(extra, list) and len(column) == len(extra):
        return [merge(a, b) for a, b in zip(column, extra)]
    return extra


def exact(text):
    return json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal)


def record_of(row):
    """The record that a row says, by the rule of the README."""
    ours = {"extra_json", "exported_at", "deleted_at", "dt"}
    columns = {name: value for name, value in row.items() if name not in ours}
    return plain(merge(columns, exact(row["extra_json"]) if row["extra_json"] else None))


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


def unparsed(lake):
    """Texts of extra_json that are no JSON for DuckDB or for Python, in any table."""
    connection = duckdb.connect()
    for table in sorted(it.name for it in lake.iterdir() if it.is_dir() and it.name[0] != "_"):
        rows = f"read_parquet('{str(lake / table).replace(chr(39), chr(39) * 2)}/*/*.parquet')"
        extra = f"select extra_json from {rows} where extra_json is not null"
        connection.execute(f"select count(*) from ({extra}) where not json_valid(extra_json)")
        if count := connection.fetchone()[0]:
            yield f"{table}: {count} rows are no JSON for DuckDB"
        connection.execute(f"select count(json_keys(extra_json)) from ({extra})")
        connection.fetchone()
        for (text,) in connection.execute(extra).fetchall():
            try:
                json.loads(text, parse_constant=refuse)
            except ValueError as error:
                yield f"{table}: {text[:200]}: {error}"


def changed(lake, sent):
    """Records that do not come back as they were sent."""
    read = pyarrow.dataset.dataset(lake / "calls", format="parquet", partitioning="hive")
    seen = set()
    for batch in read.to_batches(batch_size=500):
        for row in batch.to_pylist():
            seen.add(row["id"])
            before, after = plain(exact(sent[row["id"]])), record_of(row)
            if not same(before, after):
                names = [it for it in before.keys() | after.keys()
                         if not same(before.get(it), after.get(it))]
                yield f"{row['id']}: {[(it, before.get(it), after.get(it)) for it in names][:2]}"
    lost = sent.keys() - seen
    if lost:
        yield f"{len(lost)} records are not there"


def round_trip(binary, lake, count, seed, promises):
    """Sends half of the records before the schema settles, half after; and reads all."""
    sys.setrecursionlimit(20_000)
    decimal.getcontext().Emax = decimal.MAX_EMAX
    decimal.getcontext().Emin = decimal.MIN_EMIN
    writer, workspace, sent = Writer(seed), Workspace(), {}
    env = environment(workspace.serve())
    export = lambda: output(binary, "export", str(lake), "--rate", "0", "--quiet", "--json", env=env)
    for part in range(2):
        for number in range(part * count // 2, (part + 1) * count // 2):
            moment = NOW - datetime.timedelta(minutes=number % 8000 + 1)
            time = moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            text = writer.record(number, time)
            workspace.calls[f"r{number}"] = (time, time, re.sub("\x01(.*?)\x01", r"\1", text))
            sent[f"r{number}"] = re.sub("\x01(.*?)\x01", r'"\1"', text)
        report = export()
    promises.check(f"surprises: {count} records come back, seed {seed}", changed(lake, sent))
    promises.check("surprises: extra_json is JSON for DuckDB and Python", unparsed(lake))
    findings = output(binary, "verify", str(lake), "--json", allowed=(0, 1))["findings"]
    promises.check("surprises: verify finds what the index says", findings)
    calls = next(it for it in report["endpoints"] if it["endpoint"] == "calls")
    counted = [] if calls["misfits"] and calls["duplicate_members"] else ["nothing is counted"]
    promises.check("surprises: what fits no column is counted in the report", counted)
    evolved = output(binary, "evolve", str(lake), "--endpoint", "calls", "--json")["tables"][0]
    idle = [] if evolved["changes"] and evolved["rewritten"] and not evolved["outdated"] else [evolved]
    promises.check("surprises: evolve gives columns to what has gathered", idle)
    promises.check("surprises: the records come back after evolve too", changed(lake, sent))
    findings = output(binary, "verify", str(lake), "--json", allowed=(0, 1))["findings"]
    promises.check("surprises: verify finds nothing after evolve", findings)
    again = output(binary, "evolve", str(lake), "--endpoint", "calls", "--json")["tables"][0]
    promises.check("surprises: a second evolve has nothing to do", again["changes"])
    report = export()
    promises.check("surprises: a run after evolve writes nothing", report["changed"])


def main():
    promises = Promises()
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20_000
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 32)
    round_trip(str(Path(sys.argv[1]).absolute()), Path(sys.argv[2]), count, seed, promises)
    return 1 if promises.broken else 0


if __name__ == "__main__":
    sys.exit(main())
