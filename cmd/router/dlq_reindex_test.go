//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/deadletter"
	"millrace/deadletter/reindex"
	"millrace/router"
	"millrace/testserver"
	"millrace/transport"
	"millrace/transport/kafka"
)

// breakNotification has every change of every second order's row refused; marks can be set all the same.
const breakNotification = `CREATE FUNCTION notification.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF get_byte(uuid_send(NEW.order_id), 15) % 2 = 0 AND NEW.version > 0 AND (TG_OP = 'INSERT' OR NEW.version <> OLD.version) THEN
		RAISE EXCEPTION 'order % is refused', NEW.order_id USING ERRCODE = 'check_violation';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON notification.orders FOR EACH ROW EXECUTE FUNCTION notification.refuse()`

// notificationIndex is what a rebuild gives back of notification's letters: of each lane what waits of each topic,
// in order, and what is first; how the letters failed; and the marks.
const notificationIndex = `SELECT format('%s %s: %s', lane, topic, string_agg(id::text || ' ' || status || ' ' || md5(payload) || ' ' || md5(headers::jsonb::text) || ' ' || kafka_offset, ', ' ORDER BY position))
FROM deadletter.letters WHERE service = 'notification' GROUP BY lane, topic
UNION ALL SELECT format('%s begins with %s', lane, min(position) || '') FROM (SELECT lane, rank() OVER (PARTITION BY lane ORDER BY position) AS position FROM deadletter.letters WHERE service = 'notification' AND status = 'new') AS first GROUP BY lane
UNION ALL SELECT format('%s failed: %s, %s times, group %s, first %s, last %s', id, error, attempts, fingerprint, first_failed_at, last_failed_at) FROM deadletter.letters WHERE service = 'notification' AND status = 'new'
UNION ALL SELECT format('held up: %s, order %s, due %s', lane, order_id, due_at) FROM deadletter.lanes WHERE service = 'notification'
UNION ALL SELECT format('marked: %s', order_id) FROM notification.orders WHERE parked_at IS NOT NULL
ORDER BY 1`

// A whole system, in which one service refuses every second order. Its index of dead letters is lost, with the
// marks, while the router runs, and made anew from Kafka: it is the same. Mended and redriven, every order has
// heard everything.
func TestReindexOfARunningSystem(t *testing.T) {
	t.Parallel()
	broker := testserver.Kafka(t)
	in := newInstallation(t, "KAFKA_BROKERS="+broker)
	settings := map[string]string{"KAFKA_BROKERS": broker, "CARRIER_STEP": "10ms"}
	for _, setting := range in.env {
		if name, value, _ := strings.Cut(setting, "="); name == "DATABASE_URL" {
			settings[name] = value
		}
	}
	in.exec(breakNotification)
	s := startServe(t, settings)
	const orders = 12
	var ids []string
	for range orders {
		status, body := s.ask(t, "POST", s.http+"/orders", orderBody, nil)
		var placed struct{ OrderID string }
		if err := json.Unmarshal(body, &placed); err != nil || status != http.StatusAccepted {
			t.Fatalf("place: %d %s", status, body)
		}
		ids = append(ids, placed.OrderID)
	}
	log, err := kafka.NewAdmin(kafka.Config{Brokers: []string{broker}})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	notification := router.Flow(router.Services{}).Only("notification")[0]
	eventually(t, "all orders are delivered, and all is heard", func() bool {
		if in.count("SELECT count(*) FROM orders.orders WHERE status = 'DELIVERED'") != orders || in.count("SELECT count(*) FROM millrace.outbox") != 0 {
			return false
		}
		backlog, err := log.Backlog(t.Context(), notification.Group(), notification.Topics()...) // after that: nothing more is said
		return err == nil && backlog.Messages == 0
	})
	want := in.lines(notificationIndex)
	if in.count("SELECT count(*) FROM deadletter.letters WHERE status = 'parked'") == 0 {
		t.Fatalf("nothing is parked:\n%s", strings.Join(want, "\n"))
	}

	in.exec("TRUNCATE deadletter.letters, deadletter.lanes, deadletter.steps")
	in.exec("UPDATE notification.orders SET parked_at = NULL")
	for _, args := range [][]string{{"--dry-run"}, {}, {"--service", "notification"}} {
		var printed struct{ Services []reindex.Report }
		in.read(&printed, append([]string{"dlq", "reindex"}, args...)...)
		reports := printed.Services
		var report reindex.Report
		for _, r := range reports {
			if r.Service == "notification" {
				report = r
			}
		}
		again := len(args) == 2
		if report.Copies == 0 || !again && (report.New != report.Copies || report.Parked == 0) || again && (report.Known != report.Copies || report.New+report.Parked != 0 || len(reports) != 1) {
			t.Errorf("reindex %v: %+v", args, reports)
		}
		if len(args) == 1 && in.count("SELECT count(*) FROM deadletter.letters") != 0 {
			t.Error("a dry run wrote letters")
		}
	}
	if diff := cmp.Diff(want, in.lines(notificationIndex)); diff != "" {
		t.Errorf("the rebuilt index is another one:\n%s", diff)
	}
	if out := in.must("dlq", "reindex", "--service", "notification"); !strings.Contains(out, "0 letters and 0 messages behind them were put back.") {
		t.Error(out)
	}

	in.exec("DROP TRIGGER refuse ON notification.orders")
	in.must("dlq", "redrive", "--filter", "service:notification", "--reason", "mended", "--yes")
	eventually(t, "every order goes on", func() bool { return in.count("SELECT count(*) FROM deadletter.lanes") == 0 })
	flow := router.Flow(router.Services{})
	heard := map[string]int{}
	err = log.Scan(t.Context(), notification.Topics(), time.Time{}, func(r transport.LogRecord) error {
		l, _ := flow.Parkable("notification", "", r)
		heard[l.OrderID] += in.count("SELECT count(*) FROM notification.orders WHERE order_id = $1 AND processed @> ARRAY[$2::uuid] AND parked_at IS NULL", l.OrderID, l.MessageID)
		return nil
	})
	for _, id := range ids {
		if heard[id] == 0 || heard[id] != heard[ids[0]] {
			t.Errorf("of order %s %d messages were processed, of order %s %d; %v", id, heard[id], ids[0], heard[ids[0]], err)
		}
	}
}

func (in *installation) lines(query string) (list []string) {
	in.t.Helper()
	rows, err := in.db.QueryContext(context.Background(), query)
	if err != nil {
		in.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			in.t.Fatal(err)
		}
		list = append(list, line)
	}
	if err := rows.Err(); err != nil {
		in.t.Fatal(err)
	}
	return list
}

// springLetter is one as Spring's recoverer writes it.
func springLetter(n int) transport.LogRecord {
	return transport.LogRecord{Record: transport.Record{Topic: "shop.DLT", Key: fmt.Appendf(nil, "k-%d", n%3), Value: fmt.Appendf(nil, `{"n": %d, "note": "\u001b[31m"}`, n), Headers: []transport.Header{
		{Key: "kafka_dlt-original-topic", Value: []byte("shop")}, {Key: "kafka_dlt-original-partition", Value: []byte{0, 0, 0, 1}},
		{Key: "kafka_dlt-original-offset", Value: []byte{0, 0, 0, 0, 0, 0, 0, byte(n)}}, {Key: "kafka_dlt-exception-fqcn", Value: []byte("java.lang.IllegalStateException")},
		{Key: "kafka_dlt-exception-message", Value: fmt.Appendf(nil, "no account %d \x1b[31mred", n)}, {Key: "traceparent", Value: []byte("00-1-2-01")}, {Key: "bin", Value: []byte{0, 0xff}},
	}}, Partition: 1}
}

// The letters of another system, from one end to the other, by command.
func TestForeignLettersByCommand(t *testing.T) {
	t.Parallel()
	broker := testserver.Kafka(t)
	in := newInstallation(t, "KAFKA_BROKERS="+broker, "COLUMNS=80")
	log, err := kafka.NewAdmin(kafka.Config{Brokers: []string{broker}})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.EnsureTopics(t.Context(), 3, "shop", "shop.DLT"); err != nil {
		t.Fatal(err)
	}
	sender, err := kafka.NewSender(kafka.Config{Brokers: []string{broker}})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	const letters = 25
	for n := range letters {
		if err := sender.Send(t.Context(), []transport.LogRecord{springLetter(n)})[0]; err != nil {
			t.Fatal(err)
		}
	}

	for _, c := range []struct {
		args string
		want string
	}{
		{"groups --topic shop.DLT", "25"},
		{"list --topic shop.DLT --limit 3", "These are the youngest 3 of 25"},
		{"list --topic shop.DLT body.n>=24", "1@24"},
		{"list --topic shop.DLT --since 1h error~red", "1@0"},
		{"list --topic shop.DLT service:payment", "No such letters in shop.DLT."},
		{"show --topic shop.DLT 1@7", "came from    shop, partition 1, offset 7"},
		{"show --topic shop.DLT 1@7", "* dlq_original_traceparent: 00-1-2-01"},
		{"redrive --topic shop.DLT --to shop --dry-run", "25 messages would be sent to shop; 0 went back before. Nothing was sent."},
		{"redrive --topic shop.DLT --to shop --limit 1 --yes --reason canary", "1 message was sent to shop, 0 had been before, 0 failed."},
		{"list --topic shop.DLT status:redriven", "1@0"},
		{"redrive --topic shop.DLT --to shop body.n<10 --yes", "9 messages were sent to shop, 1 had been before, 0 failed."},
		{"redrive --topic shop.DLT --to shop --yes", "15 messages were sent to shop, 10 had been before, 0 failed."},
		{"redrive --topic shop.DLT --to shop --yes", "0 messages were sent to shop, 25 had been before, 0 failed."},
		{"show --topic shop.DLT 1@7", "redriven to shop"},
	} {
		out := in.must(append([]string{"dlq", "foreign"}, strings.Fields(c.args)...)...)
		if !strings.Contains(out, c.want) || strings.Contains(out, "\x1b") {
			t.Errorf("%s: not %q:\n%s", c.args, c.want, out)
		}
		for line := range strings.Lines(out) {
			if len([]rune(strings.TrimSpace(line))) > 80 && !strings.HasPrefix(c.args, "show") {
				t.Errorf("%s: a line is wider than 80: %q", c.args, line)
			}
		}
	}
	for args, want := range map[string]string{
		"list":                           "--topic is needed",
		"list --topic nowhere":           "topic nowhere does not exist",
		"list --topic shop.DLT servic:x": `there is no field "servic"`,
		"list --topic shop.DLT --since yesterday":             "--since",
		"show --topic shop.DLT 17":                            `"17" is no place of a letter`,
		"show --topic shop.DLT 1@99":                          "there is no such record",
		"redrive --topic shop.DLT":                            "--to is needed",
		"redrive --topic shop.DLT --to shop.DLT --yes":        "that is where the letters are",
		"redrive --topic shop.DLT --to nowhere --yes":         "topic nowhere does not exist",
		"redrive --topic shop.DLT --to shop":                  "nobody can be asked here",
		"redrive --topic shop.DLT --to shop --limit -1 --yes": "--limit is not negative",
	} {
		a := in.run(append([]string{"dlq", "foreign"}, strings.Fields(args)...)...)
		if a.code == 0 || !strings.Contains(a.err, want) || strings.Count(a.err, "router: ") != 1 {
			t.Errorf("%s: exit %d, not %q: %s", args, a.code, want, a.err)
		}
	}

	var printed struct{ Letters []foreignLine }
	in.read(&printed, "dlq", "foreign", "list", "--topic", "shop.DLT", "body.n=7")
	list := printed.Letters
	if len(list) != 1 || list[0].Place != "1@7" || list[0].WrittenBy != "spring" || list[0].Status != "redriven" || list[0].RedrivenTo != "shop" || list[0].Topic != "shop" ||
		list[0].Offset != 7 || list[0].ErrorType != "java.lang.IllegalStateException" || list[0].ID != deadletter.NewID("spring", "shop.DLT/1@7") {
		t.Errorf("%+v", list)
	}
	var sent []string
	if err := log.Scan(t.Context(), []string{"shop"}, time.Time{}, func(r transport.LogRecord) error {
		sent = append(sent, fmt.Sprintf("%s %s %d", r.Key, r.Value, r.Partition))
		return nil
	}); err != nil || len(sent) != letters {
		t.Errorf("%d were sent, %v", len(sent), err)
	}
	for n, got := range sent {
		if want := springLetter(n); got != fmt.Sprintf("%s %s 1", want.Key, want.Value) {
			t.Errorf("message %d: %s", n, got)
		}
	}
}
