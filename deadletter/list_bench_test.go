package deadletter

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"millrace/deadletter/filter"
	"millrace/outbox"
	"millrace/testserver"
)

// manyLetters are what groups and lists have to cope with, of 20,000 orders, and as many messages behind them.
const manyLetters = 100_000

func seedMany(tb testing.TB, db *sql.DB) {
	tb.Helper()
	for _, statement := range []string{
		fmt.Sprintf(`INSERT INTO deadletter.letters (id, service, consumer_group, handler, lane, order_id, message_id, topic, partition, kafka_offset, key, headers, payload, attempts, error_type, error, fingerprint,
	first_failed_at, last_failed_at, version, status)
SELECT gen_random_uuid(), s, s || '-service', s || '/t', o, o, gen_random_uuid(), 't', 0, n, 'k', '{"ce_type":"PaymentInitiated"}',
	convert_to(format('{"orderId":"%%s","customerId":"c-%%s","total":{"amount":%%s,"currency":"EUR"},"items":[%%s]}', o, n %% 5000, n, repeat('{"sku":"MUG-RED","quantity":2},', 10) || '{}'), 'UTF8'),
	CASE WHEN n < %[1]d THEN 5 ELSE 0 END, CASE WHEN n < %[1]d THEN '*pq.Error' ELSE '' END, CASE WHEN n < %[1]d THEN 'pq: account ' || n || ' is closed' ELSE '' END,
	CASE WHEN n < %[1]d THEN substr(md5((n %% 40)::text), 1, 12) ELSE '' END,
	now() - (%[1]d - n %% %[1]d) * interval '0.1 seconds', now(), 'b', CASE WHEN n >= %[1]d THEN 'parked' WHEN n %% 10 = 9 THEN 'resolved' ELSE 'new' END
FROM (SELECT n, (ARRAY['payment', 'shipping', 'order', 'inventory'])[1 + n %% 4] AS s, ('00000000-0000-7000-8000-' || lpad(to_hex(n %% 20000), 12, '0'))::uuid AS o
	FROM generate_series(0, 2 * %[1]d - 1) AS n) AS d`, manyLetters),
		`INSERT INTO deadletter.lanes (service, lane, order_id) SELECT DISTINCT service, lane, order_id FROM deadletter.letters WHERE status <> 'resolved'`,
		"ANALYZE deadletter.letters", "ANALYZE deadletter.lanes",
	} {
		if _, err := db.Exec(statement); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkManyLetters asks what people ask, of 100,000 letters with as many messages parked behind them.
func BenchmarkManyLetters(b *testing.B) {
	db := testserver.Postgres(b)
	for schema, steps := range map[string]fs.FS{outbox.Schema: outbox.Migrations(), Schema: Migrations()} {
		if err := outbox.Migrate(b.Context(), db, schema, steps); err != nil {
			b.Fatal(err)
		}
	}
	seedMany(b, db)
	d := NewDesk(db, nil, "bench")
	page := func(text string) func(context.Context, filter.Condition) error {
		return func(ctx context.Context, c filter.Condition) error { _, _, err := d.Page(ctx, c, 0, 50); return err }
	}
	for name, run := range map[string]func(context.Context, filter.Condition) error{
		"groups ":                           func(ctx context.Context, c filter.Condition) error { _, err := d.Groups(ctx, c); return err },
		"groups status:new service:payment": func(ctx context.Context, c filter.Condition) error { _, err := d.Groups(ctx, c); return err },
		"list ":                             page(""), "list service:shipping status:new": page(""), "list error~99999": page(""),
		"list body.customerId:c-4999": page(""), "list body.total.amount>99990": page(""), "list nowhere-to-be-found": page(""),
		"list order:00000000-0000-7000-8000-000000000007": page(""),
		"find ": func(ctx context.Context, _ filter.Condition) error {
			_, err := d.Find(ctx, "abcdef")
			if err != nil && !strings.Contains(err.Error(), "abcdef") {
				return err
			}
			return nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			_, text, _ := strings.Cut(name, " ")
			c, err := filter.Parse(text, time.Now())
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := run(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
