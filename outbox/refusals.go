package outbox

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/lib/pq"
)

// errCannotAsk means: the function is not there, or not for this role. The guilty are found by halving then.
var errCannotAsk = errors.New("the database cannot be asked which updates it refuses")

// refusals runs the function of the same name in the database, which tries each outcome and undoes it. What only goes to
// the outbox is not tried: nobody but us refuses anything there, and the ids that it uses up would be gaps for the relay.
func (t *pgSession) refusals(ctx context.Context, outs []*outcome) ([]error, error) {
	parts := []string{t.sql.write}
	if t.shape.side != "" {
		parts = append(parts, t.sql.updateSides, t.sql.ledger)
	}
	calls := make(TextArray, 0, len(outs)*len(parts))
	whats := make([]string, 0, cap(calls))
	refusals := make([]error, len(outs))
	for i, out := range outs {
		writes := t.writes(out)
		for _, query := range parts {
			call, what := "", ""
			for _, w := range writes {
				if w.query == query {
					what = w.what
					var err error
					if call, err = literals(w.args); err != nil && kindOf(err) != guilty {
						return nil, fmt.Errorf("%s: %w", what, err)
					} else if err != nil { // what no text can hold would have the whole question refused
						refusals[i] = fmt.Errorf("%s: %w", what, err)
					}
				}
			}
			calls, whats = append(calls, call), append(whats, what)
		}
	}
	rows, err := t.run.QueryContext(ctx, `SELECT place, code, message, detail, hint, schema_name, table_name, column_name, type_name, constraint_name
FROM millrace.refusals($1::text[], $2::text[])`, TextArray(parts), calls)
	if err != nil {
		if code, _ := StateOf(err); strings.HasPrefix(code, classAccessRule) {
			err = errors.Join(errCannotAsk, err)
		}
		return nil, fmt.Errorf("ask what the database refuses: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var place int
		e := pq.Error{Severity: "ERROR"}
		if err := rows.Scan(&place, &e.Code, &e.Message, &e.Detail, &e.Hint, &e.Schema, &e.Table, &e.Column, &e.DataTypeName, &e.Constraint); err != nil {
			return nil, fmt.Errorf("read what the database refuses: %w", err)
		}
		refusals[(place-1)/len(parts)] = fmt.Errorf("%s: %w", whats[place-1], &e)
	}
	return refusals, rows.Err()
}

// literals writes arguments as EXECUTE takes them. Each is a text that Postgres reads as the parameter's type.
func literals(args []any) (string, error) {
	var b strings.Builder
	separator := "("
	for _, arg := range args {
		value, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return "", err
		}
		b.WriteString(separator)
		switch v := value.(type) {
		case nil:
			b.WriteString("NULL")
		case []byte, string:
			text := fmt.Sprintf("%s", v)
			if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
				return "", &InvalidElementError{text, fmt.Sprintf("%T", arg)}
			}
			b.WriteString(pq.QuoteLiteral(text))
		default:
			return "", fmt.Errorf("a parameter of type %T has no literal", v)
		}
		separator = ", "
	}
	b.WriteString(")")
	return b.String(), nil
}
