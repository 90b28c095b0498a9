package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"millrace/deadletter"
	"millrace/deadletter/filter"
	"millrace/deadletter/plural"
	"millrace/router"
)

// judgement is what would happen to one letter.
type judgement struct {
	Letter  string `json:"letter"`
	Service string `json:"service"`
	Order   string `json:"orderId,omitempty"`
	router.Verdict
}

// tallied are letters of one verdict.
type tallied struct {
	result  router.Result
	letters int
	service string
	example string
	why     string
}

// dryRun tells what would happen to each letter, each by itself.
func (d *desks) dryRun(ctx context.Context, cmd *cobra.Command, c filter.Condition, output *outputFlag) error {
	verdicts := map[string]*tallied{}
	results := map[router.Result]int{}
	list := []judgement{}
	judged, last := 0, time.Now()
	live := interactive()
	for _, desk := range d.all {
		err := desk.Each(ctx, c, func(l *deadletter.Letter) error {
			v := d.flow.Judge(ctx, l)
			if err := ctx.Err(); err != nil {
				return err
			}
			judged++
			results[v.Result]++
			if output.value == "json" {
				list = append(list, judgement{l.ID, l.Service, l.OrderID, v})
			}
			key := l.Service + " " + string(v.Result) + " " + v.ErrorType + " " + deadletter.Normalise(v.Why)
			if verdicts[key] == nil {
				verdicts[key] = &tallied{result: v.Result, service: l.Service, example: l.ID, why: v.Why}
			}
			verdicts[key].letters++
			if live && time.Since(last) > lookEvery {
				last = time.Now()
				fmt.Fprintf(cmd.ErrOrStderr(), "\r%d judged", judged)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if live {
		fmt.Fprint(cmd.ErrOrStderr(), "\r\x1b[K")
	}
	if output.value == "json" {
		return printLettersJSON(cmd.OutOrStdout(), map[string]any{"tally": map[string]int{
			"applied": results[router.Applied], "ignored": results[router.Ignored], "fails": results[router.Fails], "unknown": results[router.Unknown],
		}, "letters": list})
	}
	w := cmd.OutOrStdout()
	if judged == 0 {
		printNoneChosen(w, "new or retrying")
		return nil
	}
	rows := make([]*tallied, 0, len(verdicts))
	for _, v := range verdicts {
		rows = append(rows, v)
	}
	slices.SortFunc(rows, func(a, b *tallied) int {
		return cmp.Or(cmp.Compare(b.letters, a.letters), cmp.Compare(a.example, b.example))
	})
	t := table{below: groupLines, columns: []column{{name: "LETTERS", right: true}, {name: "SERVICE"}, {name: "VERDICT"}, {name: "EXAMPLE"}, {name: "WHY"}}}
	for _, v := range rows {
		t.add(fmt.Sprint(v.letters), v.service, string(v.result), shortID(v.example), v.why)
	}
	if err := t.print(w, terminalWidth(w)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nOf %s, %d would be applied, %d ignored, %d would fail again; of %d it could not be found out.\nEach was judged by itself, on its row as it is now. Nothing was changed.\n",
		plural.Of(judged, "letter", "letters"), results[router.Applied], results[router.Ignored], results[router.Fails], results[router.Unknown])
	return err
}

// lookEvery is how often progress is shown on a terminal.
const lookEvery = 200 * time.Millisecond
