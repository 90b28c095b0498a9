package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/quick"
	"unicode/utf8"
)

func TestTextFitsItsColumns(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("long ", 40), "日本語のエラー", "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301", "👍👍👍👍", "a\x1b[2Jb"} {
		for width := 2; width < 50; width++ {
			for what, got := range map[string]string{"cut": oneLine(text, width), "cutStart": cutStart(clean(text), width), "cutMiddle": cutMiddle(clean(text), width)} {
				if displayWidth(got) > width || !utf8.ValidString(got) {
					t.Errorf("%s(%q, %d) is %q, %d columns", what, text, width, got, displayWidth(got))
				}
			}
			joined := ""
			for _, line := range wrapped(text, width) {
				if displayWidth(line) > width {
					t.Errorf("wrapped(%q, %d) has %q", text, width, line)
				}
				joined += line
			}
			if strings.ReplaceAll(joined, " ", "") != strings.ReplaceAll(clean(text), " ", "") {
				t.Errorf("wrapped(%q, %d) loses something: %q", text, width, joined)
			}
		}
	}
}

// No text, whatever it is, gets through to a terminal as anything but text; and JSON stays the same JSON.
func TestNothingHarmfulGetsThrough(t *testing.T) {
	err := quick.Check(func(text string) bool {
		return strings.IndexFunc(oneLine(text, 80), harmful) < 0 && strings.IndexFunc(strings.ReplaceAll(escapeJSON(text), "\n", ""), harmful) < 0
	}, &quick.Config{MaxCount: 20_000})
	if err != nil {
		t.Error(err)
	}
	if got := escapeJSON("{\"a\":\"\u009b\U000E0041\"}\n"); got != "{\"a\":\"\\u009b\\udb40\\udc41\"}\n" {
		t.Errorf("%q", got)
	}
}

// A table fits the terminal whatever is in it: 80 columns, more, less.
func TestTablesFitTheTerminal(t *testing.T) {
	newTable := func() *table {
		tab := &table{columns: []column{{name: "LETTER"}, {name: "STATUS"}, {name: "SERVICE"}, {name: "TOPIC", spare: true}, {name: "ORDER", fromEnd: true},
			{name: "PARKED", right: true}, {name: "LAST", right: true}, {name: "ERROR"}}}
		for i := range 3 {
			tab.add("3f1c9a0b", "redriving", "notification", "ecommerce.order.status.updated", fmt.Sprintf("0199c0de-0000-7000-8000-00000000000%d", i), "12345", "59m",
				`pq: new row for relation "shipments" violates check constraint "broken"`)
		}
		return tab
	}
	for width := minText; width <= 250; width++ {
		var out strings.Builder
		if err := newTable().print(&out, width); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		for _, line := range lines {
			if displayWidth(line) > width && width >= 60 {
				t.Errorf("at %d: %q", width, line)
			}
		}
		if !strings.Contains(out.String(), `"broken"`) && width >= 80 {
			t.Errorf("at %d the error is not to be seen:\n%s", width, out.String())
		}
		if wide := len(lines) == 4; wide != (width >= 127) {
			t.Errorf("at %d there are %d lines", width, len(lines))
		}
	}
	var out strings.Builder
	if err := newTable().print(&out, 80); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "8000-000000000002") {
		t.Errorf("the ends of the ids are not to be seen:\n%s", out.String())
	}
}

func TestPasteableCommands(t *testing.T) {
	if got, want := pasteable("router", "error~carrier's", "a b", "", "topic:*.x", "body.x>=1"), `router 'error~carrier'\''s' 'a b' '' 'topic:*.x' 'body.x>=1'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
