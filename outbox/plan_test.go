package outbox

import (
	"database/sql"
	"strings"
	"testing"
)

// A plan that was made for an empty table must not read all of it once it is full.
func TestPlansOfEmptyTablesFindRowsByTheirKey(t *testing.T) {
	db := migrated(t)
	db.SetMaxOpenConns(1) // statements prepared by hand belong to a connection
	p := &postgres{db: db, shape: shapeOf(basketTable), stmts: &statements{db: db}}
	q := queriesFor(p.shape)
	for name, c := range map[string]struct {
		query string
		args  string
	}{
		"known":    {q.known, "'{}'"},
		"lock":     {q.lock, "'{}'"},
		"update":   {q.update, "'{}','{}','{}','{}','{}','{}','{}','{}','{}'"},
		"endWaits": {q.endWaits, "'basket','{}','{}'"},
		"sides":    {q.lockSides, "'{}'"},
		"setSides": {q.updateSides, "'{}','{}','{}'"},
	} {
		s, err := p.begin(t.Context(), lockOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tx := s.(*pgSession).tx
		if _, err := tx.Exec("PREPARE look AS " + c.query); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plan := explain(t, tx, "EXECUTE look("+c.args+")")
		if strings.Contains(plan, "Seq Scan") || !strings.Contains(plan, "Index") {
			t.Errorf("%s:\n%s", name, plan)
		}
		s.rollback()
		if _, err := db.Exec("DEALLOCATE ALL"); err != nil {
			t.Fatal(err)
		}
	}
}

func explain(t *testing.T, tx *sql.Tx, statement string) string {
	t.Helper()
	rows, err := tx.Query("EXPLAIN " + statement)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
