package filter_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"millrace/deadletter/filter"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func TestFiltersBecomeSQL(t *testing.T) {
	for text, want := range map[string]filter.Condition{
		"":                {SQL: "true"},
		"service:payment": {SQL: "service = $1::text", Args: []any{"payment"}},
		`error:"no \"such\" account" or not type!=x`: {
			SQL:  "(error = $1::text OR NOT coalesce(NOT coalesce(error_type = $2::text, false), false))",
			Args: []any{`no "such" account`, "x"}},
		"topic:*.50%_": {SQL: "topic LIKE $1::text", Args: []any{`%.50\%\_`}},
		"since:2h attempts>=3": {SQL: "(last_failed_at >= $1::timestamptz AND attempts >= $2::bigint)",
			Args: []any{noon.Add(-2 * time.Hour), int64(3)}},
		"(service:a or service:b) and first<2026-01-01": {
			SQL:  "((service = $1::text OR service = $2::text) AND first_failed_at < $3::timestamptz)",
			Args: []any{"a", "b", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"order:0199C0DE-0000-7000-8000-000000000001": {SQL: "order_id = $1::uuid", Args: []any{"0199c0de-0000-7000-8000-000000000001"}},
		`body.customerId:c-42`:                       {SQL: "((CASE WHEN is_json THEN convert_from(payload, 'UTF8')::jsonb END) #>> string_to_array($1::text, '.')) = $2::text", Args: []any{"customerId", "c-42"}},
		`header.ce_type:X`:                           {SQL: "headers ->> $1::text = $2::text", Args: []any{"ce_type", "X"}},
	} {
		got, err := filter.Parse(text, noon)
		if err != nil || got.SQL != want.SQL || !reflect.DeepEqual(got.Args, want.Args) {
			t.Errorf("%s\n got %s %v, %v\nwant %s %v", text, got.SQL, got.Args, err, want.SQL, want.Args)
		}
	}
}

func TestAWrongFilterSaysWhere(t *testing.T) {
	for text, at := range map[string]int{
		"servic:x": 0, "service:": 8, "service:a or": 12, "(service:a": 0, "service:a)": 9, `error:"x`: 6, "attempts>many": 0, "since:yesterday": 0,
		"service.x:1": 0, "service>a": 0, "not": 3, "body.total>much": 0, strings.Repeat("(", 1000) + "x": 0, strings.Repeat("x ", 4000): 4096,
		"or service:a": 0, "a and": 5, `ab"c"`: 2, "body.x>NaN": 0, "body.x>0x1": 0,
	} {
		_, err := filter.Parse(text, noon)
		var wrong *filter.SyntaxError
		if !errors.As(err, &wrong) {
			t.Errorf("%.40s: %v, want a SyntaxError", text, err)
			continue
		}
		if wrong.At != at && len(text) < 100 {
			t.Errorf("%s: wrong at %d (%s), want %d", text, wrong.At, wrong.Problem, at)
		}
	}
}

// However wrong a filter is, it is refused or becomes SQL whose parameters are all there: nothing of it is SQL itself.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"service:payment since:2h", `(a or not "b)") body.x>=1`, "topic:*'; DROP TABLE x --", "id:abc* last<1d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := filter.Parse(text, noon)
		if err != nil {
			return
		}
		for _, arg := range c.Args {
			if s, ok := arg.(string); ok && len(s) > 12 && strings.Contains(c.SQL, s) {
				t.Errorf("%q is in the SQL: %s", s, c.SQL)
			}
		}
		if strings.Contains(c.SQL, ";") || strings.Contains(c.SQL, "--") {
			t.Errorf("SQL %s", c.SQL)
		}
	})
}
