package deadletter

import "testing"

func TestMergePatch(t *testing.T) {
	for _, c := range []struct{ document, patch, want string }{ // the RFC's own examples, and numbers
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"n":12345678901234567890}`, `{"m":0.10}`, `{"m":0.10,"n":12345678901234567890}`},
	} {
		got, err := MergePatch([]byte(c.document), []byte(c.patch))
		if err != nil || string(got) != c.want {
			t.Errorf("%s with %s: %s, %v; want %s", c.document, c.patch, got, err, c.want)
		}
	}
	for _, wrong := range [][2]string{{`{`, `{}`}, {`{}`, `{} {}`}, {``, `{}`}, {`{}}`, `{}`}, {`{}`, `{}]`}} {
		if got, err := MergePatch([]byte(wrong[0]), []byte(wrong[1])); err == nil {
			t.Errorf("%s with %s: %s, want an error", wrong[0], wrong[1], got)
		}
	}
}
