package outbox

import (
	"context"
	"database/sql"
	"fmt"
)

// ClusterError says that a database belongs to another Kafka cluster.
type ClusterError struct{ Known, Found string }

// Error says what to do.
func (e *ClusterError) Error() string {
	return fmt.Sprintf("this database's events went to the Kafka cluster %s, but the brokers are cluster %s, which has none of the messages that running orders wait for: "+
		"correct KAFKA_BROKERS (or DATA_DIR), or accept that with --accept-new-cluster", e.Known, e.Found)
}

// RememberCluster ties the database to a Kafka cluster: the first one is
// remembered, another one is a ClusterError unless accept is set.
func RememberCluster(ctx context.Context, db *sql.DB, id string, accept bool) error {
	const remember = `INSERT INTO millrace.cluster (id) VALUES ($1) ON CONFLICT (one) DO UPDATE
		SET id = CASE WHEN $2 THEN excluded.id ELSE millrace.cluster.id END RETURNING id`
	var known string
	if err := db.QueryRowContext(ctx, remember, id, accept).Scan(&known); err != nil {
		return fmt.Errorf("remember the Kafka cluster: %w", err)
	}
	if known != id {
		return &ClusterError{Known: known, Found: id}
	}
	return nil
}
