package filter

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// texts are the fields compared as text, and their columns.
var texts = map[string]string{
	"id": "id::text", "service": "service", "group": "fingerprint", "topic": "topic", "handler": "handler", "order": "order_id::text",
	"message": "message_id", "correlation": "correlation_id", "error": "error", "type": "error_type", "version": "version", "status": "status",
}

// numbers are the fields compared as numbers.
var numbers = map[string]string{"partition": "partition", "offset": "kafka_offset", "attempts": "attempts"}

// moments are the fields compared as times.
var moments = map[string]string{"first": "first_failed_at", "last": "last_failed_at", "published": "published_at"}

// Fields lists what can be asked for, for help and completion.
func Fields() []string {
	names := slices.Concat(slices.Collect(maps.Keys(texts)), slices.Collect(maps.Keys(numbers)), slices.Collect(maps.Keys(moments)))
	return slices.Sorted(slices.Values(append(names, "since", "until", "text", "body", "header")))
}

// uuids are the fields that are one: compared as such, an index finds them.
var uuids = map[string]string{"id": "id", "order": "order_id"}

func (p *parser) term(t token) (string, error) {
	if t.op == "" {
		return p.anywhere(t.text), nil
	}
	field, path, _ := strings.Cut(t.text, ".")
	field = strings.ToLower(field)
	switch {
	case (field == "body" || field == "header") && path != "":
		return p.inside(t, field, path)
	case path != "":
		return "", &SyntaxError{t.at, fmt.Sprintf("%q has no parts; only body and header do (body.total.amount)", field)}
	case field == "since" || field == "until":
		return p.span(t, field)
	case field == "text":
		return p.anywhere(t.value), nil
	case moments[field] != "":
		return p.moment(t, moments[field])
	case numbers[field] != "":
		return p.number(t, numbers[field])
	case field == "group":
		t.value = strings.ToLower(t.value)
		return p.text(t, field)
	case uuids[field] != "" && (t.op == ":" || t.op == "=") && isUUID(t.value):
		return uuids[field] + " = " + p.arg(strings.ToLower(t.value)) + "::uuid", nil
	case texts[field] != "":
		return p.text(t, field)
	case field == "body" || field == "header":
		return "", &SyntaxError{t.at, fmt.Sprintf("%q needs a place: body.total.amount, header.ce_id", field)}
	default:
		return "", &SyntaxError{t.at, fmt.Sprintf("there is no field %q; %s", t.text, there(field, Fields()))}
	}
}

func isUUID(s string) bool { _, err := uuid.Parse(s); return err == nil && len(s) == 36 }

// contains is true where text has the value in it, whatever the case.
func (p *parser) contains(expression, value string) string {
	return "strpos(lower(" + expression + "), lower(" + p.arg(value) + "::text)) > 0"
}

// anywhere looks into all that a person would look at.
func (p *parser) anywhere(value string) string {
	v := p.arg(value) + "::text"
	var list []string
	for _, e := range []string{"error", "id::text", "order_id::text", "message_id", "correlation_id", "topic", "encode(payload, 'escape')"} {
		list = append(list, "strpos(lower("+e+"), lower("+v+")) > 0")
	}
	return "(" + strings.Join(list, " OR ") + ")"
}

// text compares a field.
func (p *parser) text(t token, field string) (string, error) {
	if err := p.known(t, field); err != nil {
		return "", err
	}
	p.status = p.status || field == "status"
	return p.compare(t, texts[field])
}

// compare compares text: with : and = the whole, where * stands for anything; with ~ a part.
func (p *parser) compare(t token, column string) (string, error) {
	switch t.op {
	case ":", "=":
		return p.equal(column, t.value), nil
	case "!=":
		return "NOT coalesce(" + p.equal(column, t.value) + ", false)", nil
	case "~", ":~":
		return p.contains(column, t.value), nil
	default:
		return "", &SyntaxError{t.at, fmt.Sprintf("%s is text: ask with :, != or ~ (contains)", t.text)}
	}
}

func (p *parser) equal(column, value string) string {
	if !strings.Contains(value, "*") {
		return column + " = " + p.arg(value) + "::text"
	}
	pattern := strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%").Replace(value)
	return column + " LIKE " + p.arg(pattern) + "::text"
}

var comparisons = map[string]string{":": "=", "=": "=", "!=": "<>", ">": ">", "<": "<", ">=": ">=", "<=": "<="}

func (p *parser) number(t token, column string) (string, error) {
	op := comparisons[t.op]
	n, err := strconv.ParseInt(t.value, 10, 64)
	if op == "" || err != nil {
		return "", &SyntaxError{t.at, fmt.Sprintf("%s is a number: %s>5", t.text, t.text)}
	}
	return column + " " + op + " " + p.arg(n) + "::bigint", nil
}

func (p *parser) moment(t token, column string) (string, error) {
	op := comparisons[t.op]
	at, ok := p.parseTime(t.value)
	if op == "" || !ok {
		return "", &SyntaxError{t.at, fmt.Sprintf("%s is a time: %s>2h (two hours ago), %s<2026-01-31, %s>2026-01-31T12:00:00Z", t.text, t.text, t.text, t.text)}
	}
	return column + " " + op + " " + p.arg(at) + "::timestamptz", nil
}

func (p *parser) span(t token, field string) (string, error) {
	at, ok := p.parseTime(t.value)
	if !ok || t.op != ":" && t.op != "=" {
		return "", &SyntaxError{t.at, fmt.Sprintf("%s takes a time or how long ago: %s:2h, %s:2026-01-31, %s:2026-01-31T12:00:00Z", field, field, field, field)}
	}
	op := ">="
	if field == "until" {
		op = "<="
	}
	return "last_failed_at " + op + " " + p.arg(at) + "::timestamptz", nil
}

// parseTime reads a moment, or how long ago it was. Days have 24 hours.
func (p *parser) parseTime(value string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.Parse(layout, value); err == nil {
			return at, true
		}
	}
	if days, ok := strings.CutSuffix(value, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= maxDays {
			return p.now.Add(-time.Duration(n) * 24 * time.Hour), true
		}
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return time.Time{}, false
	}
	return p.now.Add(-d), true
}

// number is a number as JSON has it.
var number = regexp.MustCompile(`^-?\d{1,30}(\.\d{1,30})?$`)

// maxDays is a hundred years: a duration holds three times that.
const maxDays = 36500

// body is the body as JSON, null where it is none.
const body = "(CASE WHEN is_json THEN convert_from(payload, 'UTF8')::jsonb END)"

// inside compares a place in the body, or a header.
func (p *parser) inside(t token, field, path string) (string, error) {
	if field == "header" {
		return p.compare(t, "headers ->> "+p.arg(path)+"::text")
	}
	at := body + " #>> string_to_array(" + p.arg(path) + "::text, '.')"
	switch t.op {
	case ">", "<", ">=", "<=":
		if !number.MatchString(t.value) {
			return "", &SyntaxError{t.at, fmt.Sprintf("%q is compared with %q, which is no number", t.text, t.value)}
		}
		// What is no number there is not compared. The body is read once: OFFSET keeps it from being put in twice.
		return fmt.Sprintf("(SELECT CASE WHEN jsonb_typeof(v) = 'number' THEN (v #>> '{}')::numeric %s %s::numeric ELSE false END FROM (SELECT %s OFFSET 0) AS read(v))",
			t.op, p.arg(t.value), strings.Replace(at, "#>>", "#>", 1)), nil
	default:
		return p.compare(t, "("+at+")")
	}
}
