package analyticspg

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"millrace/handlers/analytics"
)

const (
	// foldEvery bounds what a read has to add up: some thousand rows at full load.
	foldEvery = time.Second
	// foldLimit bounds one statement, so that a backlog is folded in steps that end.
	foldLimit = 10_000
	// foldTimeout ends a statement whose server no longer answers.
	foldTimeout = 30 * time.Second
)

// Folder adds what was appended up, so that reading sums stays cheap. Any number of
// processes may run one: whoever comes first folds, the others skip their turn.
type Folder struct {
	db  *sql.DB
	log *slog.Logger
}

// NewFolder returns a folder that uses one connection of db at a time. A nil log is slog.Default.
func NewFolder(db *sql.DB, log *slog.Logger) *Folder {
	if log == nil {
		log = slog.Default()
	}
	return &Folder{db, log}
}

// Run folds once a second until ctx ends. It returns no other error: sums are
// right while folding fails, only slower to read.
func (f *Folder) Run(ctx context.Context) error {
	ticker := time.NewTicker(foldEvery)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		_, err := f.Fold(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			f.log.WarnContext(ctx, "analytics: folding fails; trying again every second", "error", err)
		case err == nil && failing:
			f.log.InfoContext(ctx, "analytics: folding works again")
		}
		failing = err != nil
	}
}

// The deltas are deleted by the statement that adds them up, so each is added once whatever
// fails. The rows are locked in order, after the gate, so two folders cannot deadlock.
// Times to PAID have no series by the minute, that would be hundreds of rows each.
const fold = `WITH gate AS (SELECT FROM analytics.folding FOR UPDATE SKIP LOCKED),
taken AS (
  DELETE FROM analytics.deltas
  WHERE EXISTS (SELECT FROM gate) AND ctid = ANY (ARRAY(SELECT ctid FROM analytics.deltas LIMIT $1))
  RETURNING minute, name, key, n),
overall AS (
  INSERT INTO analytics.totals AS t (name, key, n)
  SELECT name, key, sum(n) FROM taken GROUP BY name, key ORDER BY name, key
  ON CONFLICT (name, key) DO UPDATE SET n = t.n + excluded.n),
series AS (
  INSERT INTO analytics.minutes AS m (minute, name, key, n)
  SELECT minute, name, key, sum(n) FROM taken WHERE name <> $2
  GROUP BY minute, name, key ORDER BY minute, name, key
  ON CONFLICT (minute, name, key) DO UPDATE SET n = m.n + excluded.n)
SELECT count(*) FROM taken`

// Fold adds up what was appended so far and returns how many differences that were; 0 also
// when another process is at it.
func (f *Folder) Fold(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, foldTimeout)
	defer cancel()
	folded := 0
	for {
		var n int
		if err := f.db.QueryRowContext(ctx, fold, foldLimit, analytics.SumTimeToPaid).Scan(&n); err != nil {
			return folded, fmt.Errorf("fold analytics.deltas: %w", err)
		}
		folded += n
		if n < foldLimit {
			return folded, nil
		}
	}
}
