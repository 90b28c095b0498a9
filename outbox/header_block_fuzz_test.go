package outbox

import (
	"bytes"
	"testing"
)

// FuzzHeaderBlock: a block is read or refused; what was read, and is written again, is the same headers. No more comes out
// of it than went in.
func FuzzHeaderBlock(f *testing.F) {
	for _, seed := range []string{
		"", "\x01", "\x01\x01\x03uid", "\x01\x00\x04name\x05value", "\x01\x00\x05name", "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", `{"b":"2","a":"\u0031"}`, `{"a":1}`, "\x01\x01\x80\x80\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		headers, err := headerBlock(block).headers()
		if err != nil {
			return
		}
		size := 0
		again := newHeaderBlock()
		for _, h := range headers {
			size += len(h.Value)
			again = again.add(h.Key, string(h.Value))
		}
		const longestEscape = 3 // a byte that is no text becomes U+FFFD in JSON
		if size > longestEscape*len(block) {
			t.Fatalf("%d bytes of headers in a block of %d", size, len(block))
		}
		reread, err := again.headers()
		if err != nil || len(reread) != len(headers) {
			t.Fatalf("%d headers became %d: %v", len(headers), len(reread), err)
		}
		for i, h := range headers {
			if reread[i].Key != h.Key || !bytes.Equal(reread[i].Value, h.Value) {
				t.Fatalf("%q became %q", h, reread[i])
			}
		}
		row := outboxRow{topic: "t", headers: block}
		if r, err := row.record(); err != nil || len(r.Headers) != len(headers) {
			t.Fatalf("the row of these headers: %v, %v", r, err)
		}
	})
}
