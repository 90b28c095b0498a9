package verify

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText prints the report for people: what was looked at, a line for each invariant, what is wrong.
func (r *Report) WriteText(w io.Writer) error {
	p := &printer{w: w}
	r.head(p)
	t := tabwriter.NewWriter(p, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tPROMISE\tCHECKED\tVIOLATIONS\tNOTE")
	for _, i := range r.Invariants {
		checked, wrong := "-", "-"
		if i.Of != "" {
			checked, wrong = grouped(i.Checked)+" "+i.Of, grouped(i.Violations)
		}
		note := i.Note
		if i.Skipped > 0 {
			note = strings.TrimPrefix(note+"; "+grouped(i.Skipped)+" not checked, their events are gone", "; ")
		}
		if i.Exempt > 0 {
			note = strings.TrimPrefix(note+"; "+grouped(i.Exempt)+" not judged, others decided about them", "; ")
		}
		if i.Of == "" {
			note += ": " + strings.Join(i.Tests, ", ")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", i.ID, i.Promise, checked, wrong, note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, i := range r.Invariants {
		r.examples(p, i)
	}
	r.listed(p)
	for _, warning := range r.Warnings {
		p.line("\nNot looked at: %s.", warning)
	}
	switch {
	case r.OK:
		p.line("\nNo violation.")
	case r.Violations == 1:
		p.line("\n1 violation.")
	default:
		p.line("\n%s violations.", grouped(r.Violations))
	}
	return p.err
}

func (r *Report) head(p *printer) {
	for _, d := range r.Databases {
		p.line("Database %s as of %s: %s", d.Name, d.At.Format(time.RFC3339Nano), strings.Join(d.Services, ", "))
	}
	if len(r.Log) > 0 {
		partitions, records := 0, int64(0)
		for _, t := range r.Log {
			partitions += len(t.UpTo)
			for i := range t.UpTo {
				records += t.UpTo[i] - t.From[i]
			}
		}
		p.line("Kafka up to its ends a moment later: %d topics, %d partitions, %s records", len(r.Log), partitions, grouped(records))
	}
	c := r.Counts
	p.line("%s orders, %s events (%s of them twice, %s foreign, %s newer than the databases); %s still to be processed, %s in the outbox; %s dead letters, %s messages behind them",
		grouped(c.Orders), grouped(c.Records), grouped(c.Duplicates), grouped(c.Foreign), grouped(c.Later), grouped(c.Unheard), grouped(c.Outbox), grouped(c.Letters), grouped(c.Parked))
	p.line("Took %s, with %s MB of temporary files\n", (time.Duration(r.TookMs) * time.Millisecond).Round(100*time.Millisecond), grouped((r.Bytes+1<<20-1)>>20))
}

func (r *Report) examples(p *printer, i Invariant) {
	if i.Violations == 0 {
		return
	}
	p.line("\n%s: %s", i.ID, i.Promise)
	for _, v := range i.Examples {
		if v.Order == "" {
			p.line("  %s", v.Reason)
		} else {
			p.line("  order %s: %s", v.Order, v.Reason)
		}
		for _, record := range v.Records {
			p.line("    %s", record)
		}
	}
	if more := i.Violations - int64(len(i.Examples)); more > 0 {
		p.line("  and %s more", grouped(more))
	}
}

func (r *Report) listed(p *printer) {
	if r.ListedCount == 0 {
		return
	}
	p.line("\nOrders that have not ended, for a reason:")
	for _, one := range r.Listed {
		p.line("  order %s, %s: %s", one.Order, one.Status, strings.Join(one.Reasons, "; "))
	}
	if more := r.ListedCount - int64(len(r.Listed)); more > 0 {
		p.line("  and %s more", grouped(more))
	}
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.w.Write(b)
	p.err = err
	return n, err
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	const group = 3
	digits := strconv.FormatInt(n, 10)
	for at := len(digits) - group; at > 0 && digits[at-1] != '-'; at -= group {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
