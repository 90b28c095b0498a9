package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// keepEvery is how often it is written down that there is no lag, so that a start finds no lag in the time before it while
	// others run: less than standstill, a look included.
	keepEvery = 5 * time.Second
	// keepTimeout bounds the writing. With a look and the pause after it, it takes no longer than standstill: a row
	// that somebody holds makes no lag.
	keepTimeout = standstill - lagTimeout - lagEvery
)

// lagTable is one service's row of millrace.lags: what the horizons of its executors have seen, for those that start later. An
// executor that runs goes by what it saw itself.
type lagTable struct {
	service string
	longest time.Duration // as in horizon
	stmts   *statements
}

const (
	// A time that is yet to come tells that the clock was set back.
	readLags = `SELECT least(k.clear_at, now()), lower(l), upper(l) FROM millrace.lags k
LEFT JOIN LATERAL unnest(k.lags * tstzmultirange(tstzrange(NULL, now()))) AS l ON true WHERE k.service = $1 ORDER BY l`

	// What is needed no longer goes, by the rule of horizon.lost; and of lags that end close together one is kept, as long as
	// they are together. Lengths are seconds, because an interval of days is not the same everywhere.
	writeLags = `INSERT INTO millrace.lags AS k (service, clear_at, lags) VALUES ($1, $2, $3::tstzmultirange)
ON CONFLICT (service) DO UPDATE SET
	clear_at = CASE WHEN k.clear_at > clock_timestamp() THEN excluded.clear_at ELSE greatest(k.clear_at, excluded.clear_at) END,
	lags = (SELECT coalesce(range_agg(tstzrange(ended - length * interval '1 second', ended)), '{}') FROM (
		SELECT ended, length, sum(length) OVER (ORDER BY ended DESC) - length AS later FROM (
			SELECT max(upper(l)) AS ended, sum(extract(epoch FROM upper(l)) - extract(epoch FROM lower(l))) AS length
			FROM unnest((k.lags + excluded.lags) * tstzmultirange(tstzrange(NULL, clock_timestamp()))) AS l
			GROUP BY floor(extract(epoch FROM upper(l)) / $5::numeric)) AS apart) AS summed
	WHERE ended + ($4::numeric + later) * interval '1 second' > clock_timestamp())`
)

// read returns the last look of anybody without lag, zero if there was none yet, and the lags before it.
func (t lagTable) read(ctx context.Context) (clear time.Time, lags []span, err error) {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	stmt, err := t.stmts.get(ctx, readLags)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("read millrace.lags of %s: %w", t.service, err)
	}
	rows, err := stmt.QueryContext(ctx, t.service)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("read millrace.lags of %s: %w", t.service, err)
	}
	defer rows.Close()
	for rows.Next() {
		var from, to sql.NullTime
		if err := rows.Scan(&clear, &from, &to); err != nil {
			return time.Time{}, nil, fmt.Errorf("read millrace.lags of %s: %w", t.service, err)
		}
		if to.Valid {
			lags = append(lags, span{from.Time, to.Time})
		}
	}
	if err := rows.Err(); err != nil {
		return time.Time{}, nil, fmt.Errorf("read millrace.lags of %s: %w", t.service, err)
	}
	return clear, lags, nil
}

// write adds lags, and that there was none at clear. To do it twice is to do it once.
func (t lagTable) write(ctx context.Context, clear time.Time, lags []span) error {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	if _, err := t.stmts.exec(ctx, writeLags, t.service, clear, multirange(lags), t.longest.Seconds(), (t.longest / keptLags).Seconds()); err != nil {
		return fmt.Errorf("write millrace.lags of %s: %w", t.service, err)
	}
	return nil
}

// multirange is in Postgres's text form.
func multirange(list []span) string {
	ranges := make([]string, len(list))
	for i, s := range list {
		ranges[i] = "[" + s.from.UTC().Format(time.RFC3339Nano) + "," + s.to.UTC().Format(time.RFC3339Nano) + ")"
	}
	return "{" + strings.Join(ranges, ",") + "}"
}

// recall begins with what others saw until at, which is now: lags in the order of their times. Looks come after it. A start
// counts as lag; where somebody looked a moment ago, for no longer than lagGrace, or restarts that come more often than the
// grace would hold deadlines back for ever.
func (h *horizon) recall(at, clear time.Time, lags []span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lagged, h.clear, h.kept = at, clear, clear
	if at.Sub(clear) <= standstill {
		h.lagged = at.Add(lagGrace - h.grace)
	}
	for _, s := range lags {
		h.remember(s)
		if s.to.After(h.lagged) {
			h.lagged = s.to
		}
	}
}

// news are the last look without lag, and the lags before it, that are to be written down; zero: there is nothing worth it. It is
// for after a look without lag.
func (h *horizon) news() (clear time.Time, lags []span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if age := h.clear.Sub(h.kept); len(h.unkept) == 0 && age >= 0 && age < keepEvery {
		return time.Time{}, nil
	}
	return h.clear, slices.Clone(h.unkept)
}

// told notes that news were written down. There was no look in between.
func (h *horizon) told(clear time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept, h.unkept = clear, nil
}

// recallLags reads what the horizon has to begin with. Until it is known, there is no look, and no deadline fires.
func (e *Executor[S]) recallLags(ctx context.Context) {
	if e.lags.longest == 0 {
		return
	}
	look := trouble{log: e.log, what: "no deadline fires: the executor reads what others saw of lags"}
	for ctx.Err() == nil {
		err := e.clock.compare(ctx, e.waits.stmts)
		if err == nil {
			var clear time.Time
			var lags []span
			if clear, lags, err = e.lags.read(ctx); err == nil {
				now := e.clock.now()
				if gone := now.Sub(clear); !clear.IsZero() && gone > standstill {
					e.log.InfoContext(ctx, "nobody saw that messages were in time; deadlines give the time back", "since", clear, "for", gone.Round(time.Millisecond))
				}
				e.horizon.recall(now, clear, lags)
			}
		}
		if look.note(ctx, err); err == nil {
			return
		}
		pause(ctx, e.lagEvery, nil)
	}
}

// keepLags writes down what a process that starts later has to know.
func (e *Executor[S]) keepLags(ctx context.Context) error {
	if e.lags.longest == 0 {
		return nil
	}
	clear, lags := e.horizon.news()
	if clear.IsZero() {
		return nil
	}
	if err := e.lags.write(ctx, clear, lags); err != nil {
		return err
	}
	e.horizon.told(clear)
	return nil
}
