# Work of some 30 MB: makes, sorts, encodes and looks up; prints sums alone.
# $SCALE times as much of it.
import array, hashlib, json, os, random

scale = int(os.environ.get("SCALE", "1"))
count = 30000 * scale
random.seed(7)
rows = [{"id": i, "name": "row %d" % i, "values": [random.random() for _ in range(4)]} for i in range(count)]
by_name = {row["name"]: row for row in rows}
rows.sort(key=lambda row: row["values"][0])
text = json.dumps(rows)
print(len(text), hashlib.sha256(text.encode()).hexdigest())
again = json.loads(text)
print(again == rows)
numbers = array.array("q", range(1 << 19))
numbers.extend(numbers)
print(sum(numbers))
total = 0
for _ in range(100000 * scale):
    total += by_name["row %d" % random.randrange(count)]["id"]
print(total)
del text, again
big = bytearray(16 << 20)
big[::4096] = b"x" * (len(big) // 4096)
print(hashlib.md5(big).hexdigest())
