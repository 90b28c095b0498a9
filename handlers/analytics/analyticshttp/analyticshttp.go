// Package analyticshttp is the analytics service's routes.
package analyticshttp

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"millrace/handlers/analytics"
	"millrace/httpapi"
)

// Reads answer from committed sums; *analyticspg.Reader does.
type Reads interface {
	Summary(ctx context.Context) (analytics.Summary, error)
	// Minutes is what happened in the minutes that begin at from or later, and before to.
	Minutes(ctx context.Context, from, to time.Time) ([]analytics.Minute, error)
}

// Register adds the routes to api. Streams end when the server drains.
func Register(api huma.API, reads Reads) {
	register(api, reads, streamPace)
}

func register(api huma.API, reads Reads, p pace) {
	readers, tags := httpapi.Scope(httpapi.ScopeShop, httpapi.ScopeOperator), []string{"analytics"}
	huma.Register(api, huma.Operation{
		OperationID: "get-analytics-summary", Method: http.MethodGet, Path: "/analytics/summary",
		Summary: "Sum up all orders", Security: readers, Tags: tags,
		Description: "Orders are counted once for each state they were ever in. Revenue is money captured minus money refunded.",
	}, func(ctx context.Context, _ *struct{}) (*summaryOutput, error) {
		s, err := reads.Summary(ctx)
		if err != nil {
			return nil, err
		}
		return &summaryOutput{summaryOf(s)}, nil
	})
	huma.Register(api, huma.Operation{
		OperationID: "get-analytics-orders", Method: http.MethodGet, Path: "/analytics/orders",
		Summary: "Count orders by the minute", Security: readers, Tags: tags,
		Description: "Each change counts in the minute in which it happened. Minutes without any are left out.",
		Errors:      []int{http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *seriesInput) (*seriesOutput, error) { return series(ctx, reads, in) })
	registerStream(api, reads, p)
}

type summaryOutput struct{ Body Summary }

// The span of a series: what one gets without asking, and at most.
const (
	defaultSpan = time.Hour
	maxSpan     = 7 * 24 * time.Hour // 10,080 minutes, about a megabyte
)

type seriesInput struct {
	By   string    `query:"by" enum:"minute" default:"minute"`
	From time.Time `query:"from" doc:"The first minute, RFC 3339. Default: an hour before to."`
	To   time.Time `query:"to" doc:"The end, not included, RFC 3339; at most 7 days after from. Default: the end of this minute."`
}

type seriesOutput struct{ Body Series }

func series(ctx context.Context, reads Reads, in *seriesInput) (*seriesOutput, error) {
	from, to := in.From.UTC(), in.To.UTC()
	if to.IsZero() {
		to = time.Now().UTC().Truncate(time.Minute).Add(time.Minute)
	}
	if from.IsZero() {
		from = to.Add(-defaultSpan)
	}
	// A minute is counted whole or not at all.
	from = from.Truncate(time.Minute)
	if cut := to.Truncate(time.Minute); cut.Before(to) {
		to = cut.Add(time.Minute)
	}
	refuse := func(message string) error {
		return huma.Error422UnprocessableEntity("The span of time is not valid.", &huma.ErrorDetail{Location: "query.from", Message: message})
	}
	switch {
	case !from.Before(to):
		return nil, refuse("must lie before to")
	case to.Sub(from) > maxSpan:
		return nil, refuse(fmt.Sprintf("must lie at most %d days before to", maxSpan/(24*time.Hour)))
	}
	minutes, err := reads.Minutes(ctx, from, to)
	if err != nil {
		return nil, err
	}
	return &seriesOutput{seriesOf(in.By, from, to, minutes)}, nil
}
