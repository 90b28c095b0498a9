package filter

import "strings"

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
	return tokens, nil
}

func scanTerm(text string, from int) (t token, next int, err error) {
	t = token{at: from}
	if text[from] == '"' {
		t.text, next, err = scanQuoted(text, from)
		t.quoted = true
		return t, next, err
	}
	i := from
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
		return "", i, &SyntaxError{from, "a value is missing; an empty one is written \"\""}
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
