package outbox

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"millrace/testserver"
)

// The same arrays, over a connection that sends parameters in binary and over one that does not,
// must arrive as the same values.
func TestArraysArriveAsTheyAre(t *testing.T) {
	binary := testserver.Postgres(t)
	text, err := sql.Open("postgres", testserver.PostgresDSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	instant := time.Date(2026, 3, 4, 5, 6, 7, 891011000, time.FixedZone("", 3600))
	const id = "0198c5a0-0000-7000-8000-00000000abcd"
	for name, db := range map[string]*sql.DB{"binary": binary, "text": text} {
		for _, c := range []struct {
			array any
			kind  string
			want  string
		}{
			{UUIDArray{id, id}, "uuid[]", "{" + id + "," + id + "}"},
			{UUIDArray(nil), "uuid[]", "{}"},
			{TextArray{"", `a "quoted" \ {word}`, "NULL", "ü\n"}, "text[]", "{\"\",\"a \\\"quoted\\\" \\\\ {word}\",\"NULL\",\"ü\n\"}"},
			{TextArray(nil), "text[]", "{}"},
			{JSONArray{[]byte(`{"a":"\""}`), []byte(`1`)}, "json[]", `{"{\"a\":\"\\\"\"}",1}`},
			{JSONArray(nil), "json[]", "{}"},
			{ByteaArray{{0, 255, '\\'}, nil, {}}, "bytea[]", `{"\\x00ff5c","\\x","\\x"}`},
			{ByteaArray(nil), "bytea[]", "{}"},
			{BigintArray{0, -1, 1<<63 - 1, -1 << 63}, "bigint[]", "{0,-1,9223372036854775807,-9223372036854775808}"},
			{BigintArray(nil), "bigint[]", "{}"},
			{BooleanArray{true, false}, "boolean[]", "{t,f}"},
			{BooleanArray(nil), "boolean[]", "{}"},
			{TimestamptzArray{instant, time.Unix(0, 0)}, "timestamptz[]", `{"2026-03-04 04:06:07.891011+00","1970-01-01 00:00:00+00"}`},
			{TimestamptzArray(nil), "timestamptz[]", "{}"},
		} {
			var got string
			// set_config sets the zone for the one statement that prints the array.
			err := db.QueryRow("SELECT (SELECT ($1::"+c.kind+")::text FROM (SELECT set_config('timezone', 'UTC', true)) AS zone)", c.array).Scan(&got)
			if err != nil || got != c.want {
				t.Errorf("%s: %v as %s arrived as %s (%v), want %s", name, c.array, c.kind, got, err, c.want)
			}
		}
	}
}

// What cannot be sent is the fault of whoever gave it, not of the connection: it must not be tried again.
func TestAnElementThatIsNoUUIDIsGuilty(t *testing.T) {
	_, err := testserver.Postgres(t).Exec("SELECT $1::uuid[]", UUIDArray{"not one"})
	var invalid *InvalidElementError
	if !errors.As(err, &invalid) || kindOf(err) != guilty {
		t.Errorf("it failed with %v, of kind %v", err, kindOf(err))
	}
}

func BenchmarkArrays(b *testing.B) {
	const rows = 200 // a batch under load
	states := make(JSONArray, rows)
	for i := range states {
		states[i] = []byte(`{"id":"0198c5a0-0000-7000-8000-00000000abcd","status":"PAID","items":[{"sku":"mug","quantity":2}]}`)
	}
	b.Run("binary", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := states.BinaryValue(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("text", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := states.Value(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
