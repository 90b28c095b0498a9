package spill_test

import (
	"errors"
	"math"
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace/verify/spill"
)

type fact struct {
	ID     [16]byte
	N      int64
	Small  uint8
	Hash   uint64
	Flags  [10]bool
	Text   string
	Name   string
	List   []string
	Nested []fact
}

func (f *fact) Code(c *spill.Coder) {
	c.ID(&f.ID)
	spill.Number(c, &f.N)
	spill.Number(c, &f.Small)
	c.Hash(&f.Hash)
	flags := make([]*bool, len(f.Flags))
	for i := range flags {
		flags[i] = &f.Flags[i]
	}
	c.Flags(flags...)
	c.Text(&f.Text)
	c.Name(&f.Name)
	spill.Each(c, &f.List, c.Text)
	spill.Each(c, &f.Nested, func(n *fact) { n.Code(c) })
}

func buckets(t interface {
	Fatal(...any)
	Cleanup(func())
}, dir string) *spill.Buckets {
	b, err := spill.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func drawn(t *rapid.T, depth int) fact {
	text := rapid.OneOf(rapid.Just(""), rapid.String(), rapid.SampledFrom([]string{"PAID", "SHIPPED"}))
	f := fact{
		N:     rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, -1, math.MaxInt64, math.MinInt64})).Draw(t, "n"),
		Small: rapid.Uint8().Draw(t, "small"), Hash: rapid.Uint64().Draw(t, "hash"),
		Text: text.Draw(t, "text"), Name: text.Draw(t, "name"),
	}
	copy(f.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	for i := range f.Flags {
		f.Flags[i] = rapid.Bool().Draw(t, "flag")
	}
	for range rapid.IntRange(0, 3).Draw(t, "texts") {
		f.List = append(f.List, text.Draw(t, "element"))
	}
	if depth > 0 {
		for range rapid.IntRange(0, 2).Draw(t, "nested") {
			f.Nested = append(f.Nested, drawn(t, depth-1))
		}
	}
	return f
}

// Every fact comes back as it was put in, with those of its UUID in their order, and once.
func TestFactsComeBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := buckets(rt, t.TempDir())
		w := b.Writer()
		want := map[[16]byte][]fact{}
		ids := [][16]byte{{15: 1}, {0: 9, 15: 1}, {15: 255}}
		for range rapid.IntRange(0, 20).Draw(rt, "facts") {
			id, f := rapid.SampledFrom(ids).Draw(rt, "of"), drawn(rt, 1)
			if err := w.Put(id, byte(len(want[id])), &f); err != nil {
				rt.Fatal(err)
			}
			want[id] = append(want[id], f)
		}
		got := map[[16]byte][]fact{}
		for n := range spill.Count {
			err := b.Read(n, func(id [16]byte, tag byte, c *spill.Coder) error {
				if int(id[15]) != n || int(tag) != len(got[id]) {
					rt.Errorf("bucket %d: %x, tag %d after %d of it", n, id, tag, len(got[id]))
				}
				var f fact
				f.Code(c)
				got[id] = append(got[id], f)
				return nil
			})
			if err != nil {
				rt.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Errorf("(-put +read)\n%s", diff)
		}
	})
}

func TestWritersMayWorkSideBySide(t *testing.T) {
	b := buckets(t, t.TempDir())
	const writers, each = 8, 1000
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			w := b.Writer()
			for n := range each {
				if err := w.Put([16]byte{0: byte(i), 15: byte(n % 3)}, 0, &fact{N: int64(n), Text: "some text"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	read := 0
	next := map[[16]byte]int64{}
	for n := range 3 {
		err := b.Read(n, func(id [16]byte, _ byte, c *spill.Coder) error {
			var f fact
			f.Code(c)
			if f.N%3 != int64(n) || f.N < next[id] || f.Text != "some text" {
				t.Errorf("%x: %+v, after %d", id, f, next[id])
			}
			next[id] = f.N
			read++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if read != writers*each {
		t.Errorf("%d facts came back, want %d", read, writers*each)
	}
}

// A fact that is not read to its end, or beyond it, is an error: the lists of fields differ.
func TestAFactThatDoesNotFitIsAnError(t *testing.T) {
	for name, do := range map[string]func(*spill.Coder){
		"too little": func(c *spill.Coder) { c.ID(new([16]byte)) },
		"too much":   func(c *spill.Coder) { new(fact).Code(c); c.Text(new(string)) },
	} {
		b := buckets(t, t.TempDir())
		if err := b.Writer().Put([16]byte{}, 0, &fact{Text: "x"}); err != nil {
			t.Fatal(err)
		}
		err := b.Read(0, func(_ [16]byte, _ byte, c *spill.Coder) error { do(c); return nil })
		if !errors.Is(err, spill.ErrCut) {
			t.Errorf("%s: %v, want ErrCut", name, err)
		}
	}
}

func TestNothingIsLeftInTheDirectory(t *testing.T) {
	dir := t.TempDir()
	b := buckets(t, dir)
	if err := b.Writer().Put([16]byte{}, 0, &fact{}); err != nil {
		t.Fatal(err)
	}
	if b.Size() == 0 {
		t.Error("no size")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := spill.New(dir + "/missing"); err == nil {
		t.Error("files were made in a directory that is not there")
	}
}
