package verify

import (
	"testing"

	"millrace/verify/spill"
)

// BenchmarkOrder is what one delivered order costs: its records decoded, all of its facts written, read and
// checked. The databases and the broker are not in it.
func BenchmarkOrder(b *testing.B) {
	buckets, err := spill.New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer buckets.Close()
	out := buckets.Writer()
	w := newWorld()
	headers := []header{{headWatermillID, nil}, {"ce_causationid", []byte(anyID().String())}, {headCorrelationID, []byte(anyID().String())}, {headSchemaVersion, []byte("1")},
		{headID, nil}, {headOrderVersion, []byte("1")}, {headSource, []byte("order")}, {"ce_specversion", []byte("1.0")}, {"ce_subject", nil},
		{headTime, []byte("2026-01-02T03:04:05.123456Z")}, {headType, nil}, {"content-type", []byte("application/json")}}
	for b.Loop() {
		s := w.deliver()
		key := []byte(s.ID.String())
		for i := range s.Log {
			r := &s.Log[i]
			event := []byte(r.ID.String())
			headers[0].value, headers[4].value, headers[8].value, headers[10].value = event, event, key, []byte(flow[r.Kind].event)
			f := fetched{topic: flow[r.Kind].topic, partition: r.Partition, offset: r.Offset, key: key, headers: headers,
				value: []byte(`{"orderId":"` + s.ID.String() + `","items":[{"sku":"MUG-RED","quantity":2,"unitPrice":1250}],"total":{"amount":2500,"currency":"EUR"},"status":"` + r.Status + `"}`)}
			if err := f.keep(out); err != nil {
				b.Fatal(err)
			}
		}
		for _, r := range s.Rows {
			if err := out.Put(s.ID, tagRow, r); err != nil {
				b.Fatal(err)
			}
		}
		for i := range s.History {
			if err := out.Put(s.ID, tagEntry, &s.History[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	f := newFindings(1)
	for n := range spill.Count {
		all, err := collect(buckets, n)
		if err != nil {
			b.Fatal(err)
		}
		for _, o := range all {
			o.conclude(&w.look)
			checkOrder(o, &w.look, w.sums, f)
		}
	}
	b.ReportMetric(float64(buckets.Size())/float64(b.N), "B/order")
}
