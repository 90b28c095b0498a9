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

// What can meet nothing is refused: whoever mistypes must not read that all is well.
func TestAFilterThatCanMeetNothingIsRefused(t *testing.T) {
	closed := filter.Closed{"service": {"order", "payment", "shipping"}, "status": {"new", "retrying"}}
	for text, want := range map[string]string{
		"service:paymnt":                 `character 9: no service is "paymnt"; did you mean payment? There are order, payment, shipping`,
		"service:ship":                   "did you mean shipping?",
		"service!=oredr":                 "did you mean order?",
		"status:foo":                     `character 8: no status is "foo"; there are new, retrying`,
		"status:NEW":                     "did you mean new?",
		"topic:x (status=parked)":        `no status is "parked"; there are`,
		`service:"pay ment"`:             "did you mean payment?",
		"service~warehouse":              "no service is",
		"service:*house":                 "no service is",
		"service = shipping":             `character 9: "=" stands between a field and a value, without blanks, as in service=x`,
		"attempts >3":                    `character 10: ">" stands between`,
		"service: shipping":              "character 9: a value is missing: it follows without a blank",
		"body.total.amount >= 5":         "as in body.total.amount>=x",
		"what = this":                    `character 6: "=" stands between`,
		"service:shipping, attempts:1":   "character 17: conditions stand beside each other, without commas",
		"service:shipping , attempts:1":  "without commas",
		"service:shipping && attempts>1": `"&&" is written "and"`,
		"sevice:shipping":                `there is no field "sevice"; did you mean service? There are attempts, body`,
		"body:3":                         `"body" needs a place: body.total.amount, header.ce_id`,
		"header~x":                       "needs a place",
		"group:b497":                     "it is 12 hexadecimal digits; group:b497* stands for all that begin so",
		"id:3f1c9a":                      "id:3f1c9a* stands for all that begin so",
		"order!=17":                      "is no whole id",
	} {
		if c, err := closed.Parse(text, noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v (%s), want %s", text, err, c.SQL, want)
		}
	}
	for _, right := range []string{
		"service:payment status!=new", "service:pay* or service~SHIP", `error~"a, b" "=" "&&" ","`, ":9092", "a,b", "group:B497F4CC2DF3",
		"group:b4*", "id:3f1c9a*", "not order:*", "type:*.Error*", "text:service",
	} {
		if _, err := closed.Parse(right, noon); err != nil {
			t.Errorf("%s: %v", right, err)
		}
	}
	if _, err := filter.Parse("service:warehouse", noon); err != nil {
		t.Errorf("where the set is not closed: %v", err)
	}
}

func TestGuesses(t *testing.T) {
	names := []string{"order", "payment", "Shipping"}
	for word, want := range map[string]string{"paymnt": "payment", "PAYMENT": "payment", "pyament": "payment", "shipng": "Shipping", "shipping-service": "", "or": "order", "o": "", "": "", "billing": ""} {
		if got := filter.Guess(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
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
