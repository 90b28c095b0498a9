package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/demo"
	"millrace/embedded"
	"millrace/testserver"
	"millrace/verify"
)

// sizesVariable says for which numbers of orders verify's memory and time are measured, such as 50000,200000.
const sizesVariable = "MILLRACE_VERIFY_ORDERS"

// batchBytes is how much the relay writes into a partition at once, at the most.
const batchBytes = 64 << 10

// originals is how many orders are really run; all others are copies of these under other ids.
const originals = 100

// TestVerifySize fills a system with many orders and looks how much memory and time verify takes. It
// is a measurement, which takes minutes and some 25 KB of disk an order, and so runs only when it is asked for.
func TestVerifySize(t *testing.T) {
	sizes := os.Getenv(sizesVariable)
	if sizes == "" {
		t.Skipf("a measurement: set %s to numbers of orders", sizesVariable)
	}
	dsn := testserver.PostgresDSN(t)
	broker, err := embedded.StartKafka(embedded.KafkaConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	settings := map[string]string{"KAFKA_BROKERS": broker.Addr(), "DATABASE_URL": dsn, "CARRIER_STEP": "20ms", "PAYMENT_DEADLINE": "2s", "ORDER_DEADLINE": "20s"}
	for name, value := range settings {
		t.Setenv(name, value)
	}
	t.Run("run the originals", func(t *testing.T) {
		system := startServe(t, settings)
		report, err := demo.Run(t.Context(), demo.Options{URL: system.http, Orders: originals, Rate: 50, Mix: demo.DefaultMix(), Wait: patience, Progress: io.Discard})
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("%v, %+v", err, report)
		}
		if r := verified(t, "--at-rest", "--wait", patience.String()); !r.OK {
			t.Fatal(examples(t, r))
		}
	})
	router := filepath.Join(t.TempDir(), "router")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", router, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f := newFiller(t, dsn, broker.Addr())
	for text := range strings.SplitSeq(sizes, ",") {
		orders, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		f.fillTo(t, orders/originals)
		var out bytes.Buffer
		cmd := exec.CommandContext(t.Context(), router, "verify", "--at-rest", "--output", "json")
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		most, err := runWatched(cmd)
		var report verify.Report
		if decodeErr := json.Unmarshal(out.Bytes(), &report); err != nil || decodeErr != nil || report.Counts.Orders != int64(orders) {
			t.Fatalf("%v, %v: %d orders, want %d\n%s", err, decodeErr, report.Counts.Orders, orders, examples(t, &report))
		}
		t.Logf("%d orders, %d events: %d MB of memory at the most, %d MB of temporary files, %.1f s (%.1f s of CPU)", orders, report.Counts.Records,
			most>>10, report.Bytes>>20, float64(report.TookMs)/1000, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	}
}

// runWatched runs a process and returns its peak memory in KB. What a process leaves behind about itself counts its parent's, too.
func runWatched(cmd *exec.Cmd) (most int64, err error) {
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return most, err
		case <-tick.C:
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(status)) {
			if peak, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				if n, err := strconv.ParseInt(strings.Fields(peak)[0], 10, 64); err == nil {
					most = max(most, n)
				}
			}
		}
	}
}

// filler makes copies of what is in the tables and in the log.
type filler struct {
	db     *sql.DB
	kafka  *kgo.Client
	admin  *kadm.Client
	tables []*filledTable
	log    []*template // a record's key, headers and value, in the order of the log
	topics []string
	copies int // how many of each there are
}

// filledTable is a table with an order's id in it, and what was in it.
type filledTable struct {
	schema, name string
	columns      []string
	rows         [][]*template // nil: NULL
}

// template is a text with UUIDs in it.
type template struct {
	text  []byte
	ends  []int // of the UUIDs
	topic string
	parts []int // where a record's parts end
}

var anUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

func newTemplate(text []byte) *template {
	t := &template{text: text}
	for _, at := range anUUID.FindAllIndex(text, -1) {
		t.ends = append(t.ends, at[1])
	}
	return t
}

// copy is the n-th copy: the last bytes of each UUID are others, so that what is the same id in one place is in another.
func (t *template) copy(n int) []byte {
	const tail, bits = 4, 8
	text := bytes.Clone(t.text)
	for _, end := range t.ends {
		raw := make([]byte, tail)
		digits := text[end-2*tail : end]
		_, _ = hex.Decode(raw, digits) // the expression found digits
		for i := range raw {
			raw[tail-1-i] ^= byte(n >> (bits * i))
		}
		hex.Encode(digits, raw)
	}
	return text
}

func newFiller(t *testing.T, dsn, broker string) *filler {
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	f := &filler{db: db, copies: 1}
	rows, err := db.QueryContext(t.Context(), `SELECT table_schema, table_name, array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns
WHERE is_generated = 'NEVER' AND coalesce(identity_generation, '') <> 'ALWAYS' AND table_schema <> 'deadletter' GROUP BY 1, 2 HAVING 'order_id' = ANY(array_agg(column_name::text))`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		one := &filledTable{}
		if err := rows.Scan(&one.schema, &one.name, (*pq.StringArray)(&one.columns)); err != nil {
			t.Fatal(err)
		}
		f.tables = append(f.tables, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, one := range f.tables {
		one.read(t, db)
	}
	f.readLog(t, broker)
	return f
}

func (one *filledTable) read(t *testing.T, db *sql.DB) {
	rows, err := db.QueryContext(t.Context(), fmt.Sprintf("SELECT %s::text FROM %s.%s", strings.Join(one.columns, "::text, "), one.schema, one.name))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		texts := make([]sql.NullString, len(one.columns))
		targets := make([]any, len(texts))
		for i := range texts {
			targets[i] = &texts[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		row := make([]*template, len(texts))
		for i, text := range texts {
			if text.Valid {
				row[i] = newTemplate([]byte(text.String))
			}
		}
		one.rows = append(one.rows, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

func (f *filler) readLog(t *testing.T, broker string) {
	var err error
	if f.kafka, err = kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeRegex(), kgo.ConsumeTopics(`^ecommerce\.`), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ProducerBatchMaxBytes(batchBytes)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.kafka.Close)
	f.admin = kadm.NewClient(f.kafka)
	ends, err := f.admin.ListEndOffsets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	topics := map[string]bool{}
	ends.Each(func(o kadm.ListedOffset) {
		if strings.HasPrefix(o.Topic, "ecommerce.") {
			left += o.Offset
			topics[o.Topic] = true
		}
	})
	f.topics = slices.Sorted(maps.Keys(topics))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for left > 0 {
		fetches := f.kafka.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			var text []byte
			var parts []int
			add := func(part []byte) { text = append(text, part...); parts = append(parts, len(text)) }
			add(r.Key)
			add(r.Value)
			for _, h := range r.Headers {
				add([]byte(h.Key))
				add(h.Value)
			}
			one := newTemplate(text)
			one.topic, one.parts = r.Topic, parts
			f.log = append(f.log, one)
		})
	}
	f.kafka.PauseFetchTopics(f.topics...)
}

// fillTo makes as many copies as are missing, and brings the sums and the offsets to where they would be.
func (f *filler) fillTo(t *testing.T, copies int) {
	from := f.copies
	for _, one := range f.tables {
		one.fill(t, f.db, from, copies)
	}
	for _, statement := range []string{
		`UPDATE inventory.stock SET initial = initial + (sold + reserved) / $1 * ($2 - $1), sold = sold / $1 * $2, reserved = reserved / $1 * $2`,
		`UPDATE analytics.totals SET n = div(n, $1) * $2`, `UPDATE analytics.minutes SET n = div(n, $1) * $2`, `UPDATE analytics.deltas SET n = div(n, $1) * $2`,
	} {
		if _, err := f.db.ExecContext(t.Context(), statement, from, copies); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	f.produce(t, from, copies)
	f.copies = copies
}

func (one *filledTable) fill(t *testing.T, db *sql.DB, from, to int) {
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	columns := make([]string, len(one.columns))
	for i, name := range one.columns {
		columns[i] = pq.QuoteIdentifier(name)
	}
	into, err := tx.PrepareContext(t.Context(), fmt.Sprintf("COPY %s.%s (%s) FROM STDIN",
		pq.QuoteIdentifier(one.schema), pq.QuoteIdentifier(one.name), strings.Join(columns, ", ")))
	if err != nil {
		t.Fatal(err)
	}
	values := make([]any, len(one.columns))
	for n := from; n < to; n++ {
		for _, row := range one.rows {
			for i, column := range row {
				if values[i] = nil; column != nil {
					values[i] = string(column.copy(n))
				}
			}
			if _, err := into.ExecContext(t.Context(), values...); err != nil {
				t.Fatalf("%s.%s: %v", one.schema, one.name, err)
			}
		}
	}
	if _, err := into.ExecContext(t.Context()); err != nil {
		t.Fatalf("%s.%s: %v", one.schema, one.name, err)
	}
	if err := into.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func (f *filler) produce(t *testing.T, from, to int) {
	for n := from; n < to; n++ {
		for _, one := range f.log {
			text := one.copy(n)
			r := &kgo.Record{Topic: one.topic, Key: text[:one.parts[0]], Value: text[one.parts[0]:one.parts[1]]}
			for i := 2; i < len(one.parts); i += 2 {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: string(text[one.parts[i-1]:one.parts[i]]), Value: text[one.parts[i]:one.parts[i+1]]})
			}
			f.kafka.Produce(t.Context(), r, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := f.kafka.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	ends, err := f.admin.ListEndOffsets(t.Context(), f.topics...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"order", "payment", "inventory", "shipping", "notification", "analytics"} {
		if err := f.admin.CommitAllOffsets(t.Context(), name+"-service", ends.Offsets()); err != nil {
			t.Fatal(err)
		}
	}
}
