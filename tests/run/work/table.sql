-- Work of some 30 MB in memory.
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -200000;
CREATE TABLE entry (id INTEGER PRIMARY KEY, owner INTEGER, text TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
INSERT INTO entry SELECT i, (i * 7919) % 1009, printf('%064x', i * 2654435761) FROM n;
CREATE INDEX entry_owner ON entry (owner, text);
SELECT count(*), sum(id), sum(length(text)), max(text) FROM entry;
SELECT owner, count(*), min(text) FROM entry GROUP BY owner ORDER BY owner LIMIT 20;
UPDATE entry SET text = upper(text) WHERE owner % 3 = 0;
DELETE FROM entry WHERE owner % 5 = 1;
SELECT sum(length(text)), count(DISTINCT owner) FROM entry;
SELECT text FROM entry ORDER BY text DESC LIMIT 20 OFFSET 50000;
PRAGMA integrity_check;
