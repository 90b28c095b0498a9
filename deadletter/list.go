package deadletter

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"millrace/deadletter/filter"
)

// Group are the letters of one fingerprint.
type Group struct {
	Fingerprint string    `json:"fingerprint"`
	Error       string    `json:"error"` // of the youngest, as an example
	ErrorType   string    `json:"errorType"`
	Handler     string    `json:"handler"`
	Services    []string  `json:"services"`
	Letters     int64     `json:"letters"`
	Orders      int64     `json:"orders"` // held up by them
	Behind      int64     `json:"parkedBehind"`
	FirstFailed time.Time `json:"firstFailed"`
	LastFailed  time.Time `json:"lastFailed"`
	// LastHour and HourBefore are how many failed first in the last hour, and in the one before it.
	LastHour   int64  `json:"lastHour"`
	HourBefore int64  `json:"hourBefore"`
	Example    string `json:"example"` // the id of the youngest letter
}

// Trend compares the last hour with the one before it: in a word, and in letters that failed first in the one and the other.
func (g Group) Trend() string {
	word := "flat"
	switch {
	case g.LastHour == 0 && g.HourBefore == 0:
		return "quiet"
	case g.LastHour > g.HourBefore:
		word = "up"
	case g.LastHour < g.HourBefore:
		word = "down"
	}
	return fmt.Sprintf("%s %d:%d", word, g.LastHour, g.HourBefore)
}

// listed is a condition for what is a letter, and not only parked.
const listed = "status <> 'parked'"

// groupsQuery takes a filter. Letters are first counted by lane, which spares sorting them; what is parked counts once for
// each group that holds its lane up.
const groupsQuery = `WITH held AS MATERIALIZED (
	SELECT fingerprint, service, lane, count(*) AS letters, bool_or(status IN ('new', 'retrying', 'redriving')) AS waits, bool_or(order_id IS NOT NULL) AS ordered,
	  min(first_failed_at) AS first, max(last_failed_at) AS last, count(*) FILTER (WHERE first_failed_at > now() - interval '1 hour') AS last_hour,
	  count(*) FILTER (WHERE first_failed_at BETWEEN now() - interval '2 hours' AND now() - interval '1 hour') AS hour_before, max(position) AS youngest
	FROM deadletter.letters WHERE ` + listed + ` AND (%s) GROUP BY fingerprint, service, lane
), grouped AS (
	SELECT fingerprint, string_agg(DISTINCT service, ',' ORDER BY service) AS services, sum(letters)::bigint AS letters, count(*) FILTER (WHERE waits AND ordered) AS orders,
	  min(first) AS first, max(last) AS last, sum(last_hour)::bigint AS last_hour, sum(hour_before)::bigint AS hour_before, max(youngest) AS youngest
	FROM held GROUP BY fingerprint
), behind AS (
	SELECT h.fingerprint, count(*) AS n FROM held h JOIN deadletter.letters p ON p.service = h.service AND p.lane = h.lane AND p.status = 'parked'
	WHERE h.waits GROUP BY h.fingerprint
)
SELECT g.fingerprint, e.error, e.error_type, e.handler, g.services, g.letters, g.orders, coalesce(b.n, 0), g.first, g.last, g.last_hour, g.hour_before, e.id
FROM grouped g JOIN deadletter.letters e ON e.position = g.youngest AND e.status <> 'parked' LEFT JOIN behind b ON b.fingerprint = g.fingerprint
ORDER BY g.letters DESC, g.fingerprint`

// Groups are the letters that meet a filter by fingerprint, the largest first.
func (d *Desk) Groups(ctx context.Context, f filter.Condition) ([]Group, error) {
	rows, err := d.db.QueryContext(ctx, fmt.Sprintf(groupsQuery, f.SQL), f.Args...)
	if err != nil {
		return nil, fmt.Errorf("group the letters: %w", err)
	}
	defer rows.Close()
	var list []Group
	for rows.Next() {
		var g Group
		var services string
		if err := rows.Scan(&g.Fingerprint, &g.Error, &g.ErrorType, &g.Handler, &services, &g.Letters, &g.Orders, &g.Behind,
			&g.FirstFailed, &g.LastFailed, &g.LastHour, &g.HourBefore, &g.Example); err != nil {
			return nil, fmt.Errorf("group the letters: %w", err)
		}
		g.Services = strings.Split(services, ",")
		list = append(list, g)
	}
	return list, rows.Err()
}

// Page are letters that meet a filter, the youngest first, older than the one at the cursor; an empty cursor
// begins with the youngest of all. next is empty on the last page.
func (d *Desk) Page(ctx context.Context, f filter.Condition, before int64, limit int) (list []Listed, next int64, err error) {
	n := len(f.Args)
	rows, err := d.db.QueryContext(ctx, fmt.Sprintf(`SELECT CASE WHEN `+open+` THEN (SELECT count(*) FROM deadletter.letters p WHERE p.service = l.service AND p.lane = l.lane AND p.status = 'parked' AND p.position > l.position) ELSE 0 END,
%s FROM deadletter.letters l WHERE %s AND (%s) AND ($%d::bigint = 0 OR position < $%d::bigint) ORDER BY position DESC LIMIT $%d`, letterColumns, listed, f.SQL, n+1, n+1, n+2),
		append(f.Args[:n:n], before, limit+1)...)
	if err != nil {
		return nil, 0, fmt.Errorf("list letters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e Listed
		l, err := scanLetter(prefixed{rows, []any{&e.Behind}})
		if err != nil {
			return nil, 0, err
		}
		e.Letter = *l
		if len(list) == limit {
			return list, list[limit-1].Position, nil
		}
		list = append(list, e)
	}
	return list, 0, rows.Err()
}

// Listed is a letter in a list.
type Listed struct {
	Letter
	Behind int64 // messages parked behind it; none behind one that is settled
}

// Step is one step of a letter's life.
type Step struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who"`
	Action string    `json:"action"`
	Reason string    `json:"reason,omitempty"`
	// Detail is what else is known: of a redrive, whether it changed anything, and its trace; of an edit, both bodies.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// Steps is a letter's life so far.
func (d *Desk) Steps(ctx context.Context, id string) (list []Step, err error) {
	rows, err := d.db.QueryContext(ctx, "SELECT at, who, action, reason, nullif(detail::text, '{}') FROM deadletter.steps WHERE letter_id = $1 ORDER BY id", id)
	if err != nil {
		return nil, fmt.Errorf("the steps of letter %s: %w", id, err)
	}
	defer rows.Close()
	for rows.Next() {
		var s Step
		if err := rows.Scan(&s.At, &s.Who, &s.Action, &s.Reason, (*[]byte)(&s.Detail)); err != nil {
			return nil, fmt.Errorf("the steps of letter %s: %w", id, err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// Lane is all that is open in a letter's lane, in order.
func (d *Desk) Lane(ctx context.Context, l *Letter) ([]*Letter, error) {
	list, err := letters(ctx, d.db, "service = $1 AND lane = $2 AND "+open+" ORDER BY position", l.Service, l.lane())
	if err != nil {
		return nil, fmt.Errorf("what waits behind letter %s: %w", l.ID, err)
	}
	return list, nil
}

// scanner is a row.
type scanner interface{ Scan(targets ...any) error }

// prefixed is a row with columns before those of a letter.
type prefixed struct {
	scanner
	first []any
}

func (p prefixed) Scan(targets ...any) error { return p.scanner.Scan(append(p.first, targets...)...) }

// eachPage is how many letters Each holds at a time.
const eachPage = 200

// Each calls do for each letter that meets a filter and waits for somebody, the oldest first.
func (d *Desk) Each(ctx context.Context, f filter.Condition, do func(*Letter) error) error {
	n := len(f.Args)
	query := fmt.Sprintf("status IN ('new', 'retrying') AND (%s) AND position > $%d ORDER BY position LIMIT %d", f.SQL, n+1, eachPage)
	for after := int64(0); ; {
		list, err := letters(ctx, d.db, query, append(f.Args[:n:n], after)...)
		if err != nil {
			return fmt.Errorf("list letters: %w", err)
		}
		for _, l := range list {
			if err := do(l); err != nil {
				return err
			}
		}
		if len(list) < eachPage {
			return nil
		}
		after = list[len(list)-1].Position
	}
}
