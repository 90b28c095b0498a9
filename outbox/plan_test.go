package outbox

import (
	"database/sql"
	"strings"
	"testing"
)

// A plan that was made for a table of a few rows, or one that happened to be empty, must not read all of
// it once there are millions.
func TestPlansOfSmallTablesFindRowsByTheirKey(t *testing.T) {
	db := migrated(t)
	db.SetMaxOpenConns(1) // statements prepared by hand belong to a connection
	for _, state := range []struct {
		name       string
		statements []string
	}{
		{"never looked at", nil},
		{"a few rows", []string{`INSERT INTO basket.rows (order_id, state) SELECT gen_random_uuid(), '{}' FROM generate_series(1, 2);
			INSERT INTO basket.levels (sku) VALUES ('a'), ('b');
			INSERT INTO millrace.waits (service, order_id, step, due_at, since) SELECT 'basket', gen_random_uuid(), 's', now(), now() FROM generate_series(1, 2);
			ANALYZE`}},
		{"emptied", []string{"TRUNCATE basket.rows, basket.levels, millrace.waits", "VACUUM (ANALYZE) basket.rows", "VACUUM (ANALYZE) basket.levels", "VACUUM (ANALYZE) millrace.waits"}},
	} {
		for _, statement := range state.statements {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(state.name, func(t *testing.T) { plansFindRowsByTheirKey(t, db) })
	}
}

func plansFindRowsByTheirKey(t *testing.T, db *sql.DB) {
	p := &postgres{db: db, shape: shapeOf(basketTable), stmts: &statements{db: db}}
	q := queriesFor(p.shape)
	for name, c := range map[string]struct {
		query string
		args  string
	}{
		"read":     {q.read, "'{}'"},
		"known":    {q.known, "'{}'"},
		"lock":     {q.lock, "'{}','{}'"},
		"write":    {q.write, strings.Repeat("'{}',", 21) + "''" + strings.Repeat(",'{}'", 15)},
		"sides":    {q.lockSides, "'{}'"},
		"setSides": {q.updateSides, "'{}','{}','{}'"},
	} {
		s, _, err := p.begin(t.Context(), lockOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tx := s.(*pgSession).tx
		if _, err := tx.Exec("PREPARE look AS " + c.query); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plan := explain(t, tx, "EXECUTE look("+c.args+")")
		for _, wrong := range []string{"Seq Scan", "Join Filter", "waits_due"} {
			if strings.Contains(plan, wrong) || !strings.Contains(plan, "Index") {
				t.Errorf("%s: %s\n%s", name, wrong, plan)
			}
		}
		s.rollback()
		if _, err := db.Exec("DEALLOCATE look"); err != nil {
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
