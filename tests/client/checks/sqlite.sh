# sqlite: transactions in rollback-journal mode, a rollback, integrity. (The mount has no locks:
# "nolock" keeps them in the client.)
# Limit: 180 s
rows=$(scaled 50 300)
sqlite3 db 'PRAGMA journal_mode=DELETE; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, h BLOB); CREATE INDEX i ON t(v);'
for i in $(seq "$rows"); do echo "BEGIN; INSERT INTO t(v, h) VALUES('value $i', randomblob(3000)); COMMIT;"; done | sqlite3 db
printf 'BEGIN; DELETE FROM t; ROLLBACK;' | sqlite3 db
same "$(sqlite3 db 'SELECT count(*) FROM t')" "$rows"
printf 'BEGIN; INSERT INTO t(v, h) SELECT v || "+", randomblob(2000) FROM t; COMMIT; DELETE FROM t WHERE id %% 3 = 0; VACUUM;' | sqlite3 db
same "$(sqlite3 db 'PRAGMA integrity_check')" ok
same "$(sqlite3 "$DIR2/db" 'PRAGMA integrity_check; SELECT count(*) FROM t WHERE length(h) > 1999')" "$(printf 'ok\n%s' "$(sqlite3 db 'SELECT count(*) FROM t')")"
sqlite3 db .dump >/tmp/dump
sqlite3 copy <"/tmp/dump"
same "$(sqlite3 copy .dump | sha256sum)" "$(sha256sum </tmp/dump)"
