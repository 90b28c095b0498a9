package filter

import (
	"fmt"
	"slices"
	"strings"
)

// token is a term, a word or a parenthesis. Of a term it holds the parts.
type token struct {
	at     int
	text   string // a word, or the field
	op     string // empty for a word
	value  string
	quoted bool // the word was in quotes: it is text, not "or" or "("
}

// operators, the longer ones first.
var operators = []string{">=", "<=", "!=", ":~", ":", "=", ">", "<", "~"}

func scan(text string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '(' || c == ')':
			tokens = append(tokens, token{at: i, text: string(c)})
			i++
		default:
			t, next, err := scanTerm(text, i)
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, t)
			i = next
		}
	}
	return tokens, stray(tokens)
}

// otherWords are how other languages write ours.
var otherWords = map[string]string{"&&": "and", "||": "or", "!": "not"}

// stray finds what was meant as a part of a term, and would be looked for as a word.
func stray(tokens []token) error {
	for i, t := range tokens {
		if t.quoted || t.op != "" {
			continue
		}
		op := operatorAt(t.text)
		afterField := i > 0 && tokens[i-1].isField()
		switch {
		case t.text == ",":
			return &SyntaxError{t.at, noComma}
		case otherWords[t.text] != "":
			return &SyntaxError{t.at, fmt.Sprintf("%q is written %q; in quotes it is text", t.text, otherWords[t.text])}
		case op != "" && (op == t.text || afterField):
			field := "service"
			if afterField {
				field = tokens[i-1].text
			}
			return &SyntaxError{t.at, fmt.Sprintf("%[1]q stands between a field and a value, without blanks, as in %[2]s%[1]sx; in quotes it is text", op, field)}
		}
	}
	return nil
}

// isField tells whether a word is a field to which nothing is compared.
func (t token) isField() bool {
	name, _, _ := strings.Cut(strings.ToLower(t.text), ".")
	return !t.quoted && t.op == "" && slices.Contains(Fields(), name)
}

// noComma is what is wrong with a comma that ends a value, or a term.
const noComma = "conditions stand beside each other, without commas; in quotes a comma is a part of the value"

func scanTerm(text string, from int) (t token, next int, err error) {
	t = token{at: from}
	if text[from] == '"' {
		t.text, next, err = scanQuoted(text, from)
		t.quoted = true
		return t, next, err
	}
	i := from + len(operatorAt(text[from:])) // one at the beginning has no field before it
	for ; i < len(text) && !strings.ContainsRune(" \t\r\n()", rune(text[i])); i++ {
		if text[i] == '"' {
			return t, i, &SyntaxError{i, "a quotation mark in the middle of a word"}
		}
		if op := operatorAt(text[i:]); op != "" && i > from {
			t.text, t.op = text[from:i], op
			i += len(op)
			t.value, next, err = scanValue(text, i)
			return t, next, err
		}
	}
	t.text = text[from:i]
	return t, i, nil
}

func operatorAt(text string) string {
	for _, op := range operators {
		if strings.HasPrefix(text, op) {
			return op
		}
	}
	return ""
}

func scanValue(text string, from int) (value string, next int, err error) {
	if from < len(text) && text[from] == '"' {
		return scanQuoted(text, from)
	}
	i := from
	for i < len(text) && !strings.ContainsRune(" \t\r\n()", rune(text[i])) {
		i++
	}
	if i == from {
		return "", i, &SyntaxError{from, "a value is missing: it follows without a blank, and an empty one is written \"\""}
	}
	if text[i-1] == ',' {
		return "", i, &SyntaxError{i - 1, noComma}
	}
	return text[from:i], i, nil
}

// scanQuoted reads up to the closing mark; \" and \\ stand for themselves.
func scanQuoted(text string, from int) (value string, next int, err error) {
	var b strings.Builder
	for i := from + 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), i + 1, nil
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", len(text), &SyntaxError{from, "this quotation mark is not closed"}
}
