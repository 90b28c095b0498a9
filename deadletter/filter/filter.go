// Package filter is the language in which letters are chosen, and its translation to SQL.
//
//	service:payment since:1h not error:declined
//	(topic:ecommerce.payment.success or topic:ecommerce.payment.failed) body.total.amount>=10000
//
// A term is a field, an operator and a value. Terms beside each other must all hold; `or`, `not` and
// parentheses are as usual. A word alone is looked for in the error, the ids and the body.
package filter

import (
	"fmt"
	"strings"
	"time"
)

// Condition is a filter as SQL, for the WHERE of a query on deadletter.letters.
type Condition struct {
	// SQL has its parameters numbered from $1.
	SQL string
	// Args are the parameters.
	Args []any
	// Status tells that a status is asked for.
	Status bool
}

// SyntaxError says what is wrong with a filter, and where.
type SyntaxError struct {
	At      int // in bytes, from 0
	Problem string
}

// Error names the place, counted from 1.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("the filter is wrong at character %d: %s", e.At+1, e.Problem)
}

// maxLength and maxDepth bound a filter; nobody types a longer one.
const (
	maxLength = 4 << 10
	maxDepth  = 50
)

// Parse translates a filter. Relative times count from now. An empty filter is true.
func Parse(text string, now time.Time) (Condition, error) { return parse(text, now, nil) }

func parse(text string, now time.Time, closed Closed) (Condition, error) {
	if len(text) > maxLength {
		return Condition{}, &SyntaxError{maxLength, fmt.Sprintf("it is longer than %d bytes", maxLength)}
	}
	tokens, err := scan(text)
	if err != nil {
		return Condition{}, err
	}
	p := &parser{tokens: tokens, end: len(text), now: now, closed: closed}
	if len(tokens) == 0 {
		return Condition{SQL: "true"}, nil
	}
	sql, err := p.either()
	if err != nil {
		return Condition{}, err
	}
	if t, ok := p.peek(); ok {
		return Condition{}, &SyntaxError{t.at, fmt.Sprintf("%q has no beginning", t.text)}
	}
	return Condition{SQL: sql, Args: p.args, Status: p.status}, nil
}

type parser struct {
	tokens []token
	end    int
	now    time.Time
	closed Closed
	args   []any
	depth  int
	status bool
}

func (p *parser) peek() (token, bool) {
	if len(p.tokens) == 0 {
		return token{}, false
	}
	return p.tokens[0], true
}

func (p *parser) next() { p.tokens = p.tokens[1:] }

func (p *parser) accept(word string) bool {
	if t, ok := p.peek(); ok && !t.quoted && strings.EqualFold(t.text, word) {
		p.next()
		return true
	}
	return false
}

// either = all { "or" all }
func (p *parser) either() (string, error) {
	if p.depth++; p.depth > maxDepth {
		return "", &SyntaxError{0, "it is nested too deeply"}
	}
	defer func() { p.depth-- }()
	first, err := p.all()
	if err != nil {
		return "", err
	}
	list := []string{first}
	for p.accept("or") {
		sql, err := p.all()
		if err != nil {
			return "", err
		}
		list = append(list, sql)
	}
	return join(list, " OR "), nil
}

// all = one { ["and"] one }
func (p *parser) all() (string, error) {
	first, err := p.one()
	if err != nil {
		return "", err
	}
	list := []string{first}
	for {
		explicit := p.accept("and")
		t, ok := p.peek()
		if !explicit && (!ok || !t.quoted && (t.text == ")" || strings.EqualFold(t.text, "or"))) {
			return join(list, " AND "), nil
		}
		sql, err := p.one()
		if err != nil {
			return "", err
		}
		list = append(list, sql)
	}
}

// one = "not" one | "(" either ")" | term
func (p *parser) one() (string, error) {
	if p.depth++; p.depth > maxDepth {
		return "", &SyntaxError{0, "it is nested too deeply"}
	}
	defer func() { p.depth-- }()
	if p.accept("not") {
		sql, err := p.one()
		if err != nil {
			return "", err
		}
		return "NOT coalesce(" + sql + ", false)", nil
	}
	t, ok := p.peek()
	if !ok {
		return "", &SyntaxError{p.end, "a condition is missing at the end"}
	}
	if !t.quoted && t.text == "(" {
		p.next()
		sql, err := p.either()
		if err != nil {
			return "", err
		}
		if !p.accept(")") {
			return "", &SyntaxError{t.at, "this parenthesis is not closed"}
		}
		return sql, nil
	}
	if !t.quoted && (t.text == ")" || strings.EqualFold(t.text, "or") || strings.EqualFold(t.text, "and")) {
		return "", &SyntaxError{t.at, fmt.Sprintf("a condition is missing before %q", t.text)}
	}
	p.next()
	return p.term(t)
}

func join(list []string, by string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "(" + strings.Join(list, by) + ")"
}

// arg adds a parameter and returns its name.
func (p *parser) arg(v any) string {
	p.args = append(p.args, v)
	return fmt.Sprintf("$%d", len(p.args))
}
