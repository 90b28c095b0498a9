//go:build unix

package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/lib/pq"
)

// readyPoll is how often a starting server is asked whether it answers: small
// beside the 20 ms it takes.
const readyPoll = 5 * time.Millisecond

// database is the address of one database of the server.
func (p *Postgres) database(name string) string {
	// Everything is named, so that no PGHOST or PGPORT in the environment matters.
	return (&url.URL{
		Scheme: "postgres",
		Path:   "/" + name,
		RawQuery: url.Values{
			"host": {p.socket}, "port": {postgresPort}, "user": {postgresUser}, "sslmode": {"disable"},
		}.Encode(),
	}).String()
}

// awaitReady waits until the server takes connections and the database exists.
func (p *Postgres) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, postgresReadyTimeout)
	defer cancel()
	db, err := sql.Open("postgres", p.database("postgres"))
	if err != nil {
		return fmt.Errorf("address the embedded Postgres: %w", err)
	}
	defer db.Close()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			break
		}
		select {
		case <-p.process.Done():
			return fmt.Errorf("the embedded Postgres did not start (%w); %s", p.process.Err(), p.process.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("the embedded Postgres does not answer: %w; %s", errors.Join(ctx.Err(), err), p.process.LogTail())
		case <-time.After(readyPoll):
		}
	}
	_, err = db.ExecContext(ctx, "CREATE DATABASE "+pq.QuoteIdentifier(postgresDatabase))
	if state := new(pq.Error); errors.As(err, &state) && state.Code.Name() == "duplicate_database" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create the database %s in the embedded Postgres: %w", postgresDatabase, err)
	}
	return nil
}
