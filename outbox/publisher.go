package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
)

// insertEvents writes all events of a transaction with one statement. Ids are
// drawn in the order of the array, so the order of one order's events is the order of their ids.
const insertEvents = `INSERT INTO millrace.outbox (service, topic, key, payload, headers)
SELECT $1, e.topic, e.key, e.payload, e.headers
FROM unnest($2::text[], $3::bytea[], $4::bytea[], $5::bytea[]) WITH ORDINALITY AS e(topic, key, payload, headers, n)
ORDER BY e.n`

// NewPublisher returns Watermill's SQL publisher on a transaction: what it
// publishes is in the outbox when the transaction commits, and nowhere when it does not. The
// record key is transport.Key's.
func NewPublisher(tx wsql.ContextExecutor, service string) (message.Publisher, error) {
	return wsql.NewPublisher(tx, wsql.PublisherConfig{SchemaAdapter: schemaAdapter{service}}, watermill.NopLogger{})
}

// schemaAdapter teaches Watermill's SQL publisher our table: destination topic,
// key and headers in columns, the payload as it is (Watermill's own forwarder wraps it in an
// envelope), and arrays instead of one placeholder per value.
type schemaAdapter struct{ service string }

// InsertQuery makes the one INSERT.
func (a schemaAdapter) InsertQuery(topicName string, msgs message.Messages) (wsql.Query, error) {
	rows := make([]outboxRow, len(msgs))
	for i, msg := range msgs {
		head := maps.Clone(msg.Metadata)
		if head == nil {
			head = message.Metadata{}
		}
		head[HeaderUUID] = msg.UUID
		encoded, err := json.Marshal(head)
		if err != nil {
			return wsql.Query{}, fmt.Errorf("encode the headers of message %s: %w", msg.UUID, err)
		}
		rows[i] = outboxRow{topic: topicName, key: transport.Key(msg), payload: []byte(msg.Payload), headers: encoded}
	}
	return wsql.Query{Query: insertEvents, Args: insertArgs(a.service, rows)}, nil
}

// insertArgs are the parameters of insertEvents.
func insertArgs(service string, rows []outboxRow) []any {
	topics := make(TextArray, len(rows))
	keys, payloads, headers := make(ByteaArray, len(rows)), make(ByteaArray, len(rows)), make(ByteaArray, len(rows))
	for i, r := range rows {
		topics[i], keys[i], payloads[i], headers[i] = r.topic, r.key, r.payload, r.headers
	}
	return []any{service, topics, keys, payloads, headers}
}

var errOnlyPublishes = errors.New("the outbox is read by the relay, not by a Watermill SQL subscriber")

// SelectQuery is not used: the relay reads the outbox.
func (schemaAdapter) SelectQuery(string, string, wsql.OffsetsAdapter) wsql.Query { return wsql.Query{} }

// UnmarshalMessage is not used: the relay reads the outbox.
func (schemaAdapter) UnmarshalMessage(wsql.Scanner) (wsql.Row, error) {
	return wsql.Row{}, errOnlyPublishes
}

// SchemaInitializingQueries is empty: migrations make the table.
func (schemaAdapter) SchemaInitializingQueries(string) []wsql.Query { return nil }

// SubscribeIsolationLevel is not used: the relay reads the outbox.
func (schemaAdapter) SubscribeIsolationLevel() sql.IsolationLevel { return sql.LevelDefault }

// statements keeps each query prepared; database/sql prepares it once per connection.
type statements struct {
	db     *sql.DB
	mu     sync.Mutex
	byText map[string]*sql.Stmt
}

func (s *statements) get(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt, ok := s.byText[query]; ok {
		return stmt, nil
	}
	stmt, err := s.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if s.byText == nil {
		s.byText = map[string]*sql.Stmt{}
	}
	s.byText[query] = stmt
	return stmt, nil
}

// preparedTx is a transaction that runs every query prepared.
type preparedTx struct {
	// ctx bounds the transaction, which ends with it. Its statements need not watch it as well: the
	// driver would start a goroutine for each.
	ctx   context.Context
	tx    *sql.Tx
	stmts *statements
}

func (p preparedTx) stmt(query string) (*sql.Stmt, error) {
	stmt, err := p.stmts.get(p.ctx, query)
	if err != nil {
		return nil, err
	}
	return p.tx.StmtContext(context.WithoutCancel(p.ctx), stmt), nil
}

func (p preparedTx) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := p.stmt(query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(context.WithoutCancel(p.ctx), args...)
}

func (p preparedTx) QueryContext(_ context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := p.stmt(query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(context.WithoutCancel(p.ctx), args...)
}
