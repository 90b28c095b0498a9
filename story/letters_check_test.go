//go:build unix

package story_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/event"
	"millrace/handlers/analytics"
	"millrace/handlers/notification"
	"millrace/router"
	"millrace/topic"
)

// isLetter tells the public copy of a dead letter from an event.
func isLetter(r *kgo.Record) bool { return strings.HasPrefix(r.Topic, "dlq.") }

// heldUp is what waits at a service.
type heldUp struct{ letters, parked, lanes, marked int }

const countHeldUp = `SELECT count(*) FILTER (WHERE status IN ('new', 'retrying', 'redriving')), count(*) FILTER (WHERE status = 'parked'),
(SELECT count(*) FROM deadletter.lanes WHERE service = $1), (SELECT count(*) FROM %s WHERE parked_at IS NOT NULL) FROM deadletter.letters WHERE service = $1`

// rowTables are the services' tables of orders.
var rowTables = map[string]string{
	"order": "orders.orders", "payment": "payments.payments", "inventory": "inventory.reservations",
	"shipping": "shipping.shipments", "notification": "notification.orders", "analytics": "analytics.orders",
}

func (s *shop) heldUpAt(service string) (h heldUp, err error) {
	err = s.books.QueryRow(fmt.Sprintf(countHeldUp, rowTables[service]), service).Scan(&h.letters, &h.parked, &h.lanes, &h.marked)
	return h, err
}

// awaitHeldUp waits until so much waits at a service.
func (s *shop) awaitHeldUp(service string, want heldUp) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("at %s wait %+v", service, want), func() error {
		h, err := s.heldUpAt(service)
		if err == nil && h != want {
			err = fmt.Errorf("there are %+v; in all services: %s", h, s.holdUps())
		}
		return err
	})
}

// holdUpsShown is how many lanes a failed story shows.
const holdUpsShown = 5

// holdUps tells of letters and lanes what there is to know about why they do not go on: the head, when it is tried again,
// who is at it until when, and what was done to it. They are of all services: an operator may be waiting for another one's.
func (s *shop) holdUps() (text string) {
	err := s.books.QueryRow(`SELECT coalesce(string_agg(format('%s %s (%s): due %s, holder %s until %s, steps %s', t.service, l.id, l.status, t.due_at, t.holder, t.lease_until,
  (SELECT string_agg(to_char(p.at, 'HH24:MI:SS.MS ') || p.who || ' ' || p.action, ', ' ORDER BY p.id) FROM deadletter.steps p WHERE p.letter_id = l.id)), '; ')
  || format('; now %s', clock_timestamp()), 'none')
FROM (SELECT DISTINCT ON (service, lane) * FROM deadletter.letters WHERE status NOT IN ('resolved', 'dropped') ORDER BY service, lane, position LIMIT $1) l
FULL JOIN (SELECT * FROM deadletter.lanes ORDER BY service, lane LIMIT $1) t ON t.service = l.service AND t.lane = l.lane`, holdUpsShown).Scan(&text)
	if err != nil {
		return err.Error()
	}
	return text
}

// ours is a function of ours in a goroutine's stack.
var ours = regexp.MustCompile(`millrace/([\w/]+\.\S+)\+0x`)

// atWork is where the goroutines are that have to do with letters: how many, and the innermost of our functions.
func (n *node) atWork() string {
	profile, err := n.get("/debug/pprof/goroutine?debug=1")
	if err != nil {
		return err.Error()
	}
	counts := map[string]int{}
	for _, stack := range strings.Split(profile, "\n\n") {
		functions := ours.FindAllStringSubmatch(stack, 2)
		var many int
		if _, err := fmt.Sscanf(stack, "%d @", &many); err != nil || len(functions) == 0 || !strings.Contains(stack, "millrace/deadletter.") {
			continue
		}
		var at []string
		for _, f := range functions {
			at = append(at, f[1])
		}
		counts[strings.Join(at, " < ")] += many
	}
	return fmt.Sprint(counts)
}

// nothingIsHeldUp: no letter is open, nothing is parked, no row is marked.
func (s *shop) nothingIsHeldUp() {
	s.t.Helper()
	eventually(s.t, "nothing is held up", func() error {
		all, sum, err := s.allHeldUp()
		if err == nil && sum > 0 {
			err = fmt.Errorf("there are %+v; %s", all, s.holdUps())
		}
		return err
	})
}

// allHeldUp is what waits at each service, and how much that is in all.
func (s *shop) allHeldUp() (all map[string]heldUp, sum int, err error) {
	all = map[string]heldUp{}
	for service := range rowTables {
		h, err := s.heldUpAt(service)
		if err != nil {
			return nil, 0, err
		}
		if h != (heldUp{}) {
			all[service] = h
		}
		sum += h.letters + h.parked + h.lanes + h.marked
	}
	return all, sum, nil
}

// reaches tells whether a service's reaction to an event changes its row, at least by the event's id: some look at
// what it says and leave at once.
func reaches(service string, record *kgo.Record) (bool, error) {
	info, known := topic.Named(record.Topic)
	if !known {
		return false, fmt.Errorf("nobody knows topic %s", record.Topic)
	}
	e, err := info.Decode(record.Value)
	if err != nil {
		return false, err
	}
	switch service {
	case "analytics":
		return analytics.Counted(e), nil
	case "notification":
		_, told := notification.Kind(e)
		_, opens := e.(event.OrderCreated)
		return told || opens, nil
	case "inventory":
		parcel, is := e.(event.ShippingStatus)
		return !is || parcel.Status == event.ParcelStopped || parcel.Status == event.ParcelReturned, nil
	}
	return true, nil
}

// mostShown is how many orders with the same fault are shown.
const mostShown = 5

// processedInOrder compares the ids that the services' rows have processed, in their order, with the topics: of what a service hears
// of an order it has processed everything, once, and what is in one topic in the topic's order. Across
// topics Kafka promises no order. It returns how many messages that were.
func (s *shop) processedInOrder(records []*kgo.Record, services ...string) (messages int) {
	s.t.Helper()
	for _, service := range router.Flow(router.Services{}) {
		if len(services) > 0 && !slices.Contains(services, service.Name) {
			continue
		}
		heard, err := heardOf(service, records)
		if err != nil {
			s.t.Fatal(err)
		}
		processed := s.processedBy(service.Name)
		wrong := 0
		for order, topics := range heard {
			n, fault := inOrder(topics, processed[order])
			messages += n
			if fault == "" {
				continue
			}
			if wrong++; wrong <= mostShown {
				s.t.Errorf("%s, order %s: %s\nprocessed %v\nin the log %v", service.Name, order, fault, processed[order], topics)
			}
		}
		if wrong > mostShown {
			s.t.Errorf("%s: the same of %d orders in all", service.Name, wrong)
		}
	}
	return messages
}

// inTopics are message ids in the order of their topics, each for the first time.
type inTopics map[string][]string

// heardOf is what a service hears of each order and does something about.
func heardOf(service router.ServiceFlow, records []*kgo.Record) (map[string]inTopics, error) {
	heard := map[string]inTopics{}
	seen := map[string]bool{}
	for _, r := range records {
		id := headerOf(r, "ce_id")
		if !slices.Contains(service.Topics(), r.Topic) || seen[id] {
			continue
		}
		seen[id] = true
		does, err := reaches(service.Name, r)
		if err != nil {
			return nil, fmt.Errorf("%s/%d/%d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		if !does {
			continue
		}
		order := string(r.Key)
		if heard[order] == nil {
			heard[order] = inTopics{}
		}
		heard[order][r.Topic] = append(heard[order][r.Topic], id)
	}
	return heard, nil
}

// processedBy is what the rows of a service have processed, by order.
func (s *shop) processedBy(service string) map[string][]string {
	s.t.Helper()
	rows, err := s.books.Query("SELECT order_id, array_to_json(processed) FROM " + rowTables[service])
	if err != nil {
		s.t.Fatalf("read what %s has processed: %v", service, err)
	}
	defer rows.Close()
	all := map[string][]string{}
	for rows.Next() {
		var order string
		var list []byte
		var ids []string
		err := rows.Scan(&order, &list)
		if err == nil {
			err = json.Unmarshal(list, &ids)
		}
		if err != nil {
			s.t.Fatalf("read what %s has processed: %v", service, err)
		}
		all[order] = ids
	}
	if err := rows.Err(); err != nil {
		s.t.Fatalf("read what %s has processed: %v", service, err)
	}
	return all
}

// inOrder says what is wrong with the way an order was processed; empty if all is well.
func inOrder(topics inTopics, processed []string) (messages int, fault string) {
	at := map[string]int{}
	for i, id := range processed {
		if _, twice := at[id]; twice {
			return messages, "message " + id + " was processed twice"
		}
		at[id] = i
	}
	for name, ids := range topics {
		last := -1
		for _, id := range ids {
			i, done := at[id]
			switch {
			case !done:
				return messages, fmt.Sprintf("message %s of %s was lost", id, name)
			case i < last:
				return messages, fmt.Sprintf("message %s of %s was processed before an earlier one", id, name)
			}
			last = i
			messages++
		}
	}
	return messages, ""
}
