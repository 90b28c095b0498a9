// Package config holds every setting, with its default and its limits, in one
// struct, and reads it from environment variables.
//
// All mistakes are reported together, each with the variable, its value and what would be
// right. Secrets can come from files, and are never printed.
package config

import (
	"log/slog"
	"time"
)

// Config is every setting there is. The tags are the single source of names,
// defaults, limits and help: Load, Describe and docs/configuration.md follow them.
type Config struct {
	Services        []string      `env:"SERVICES" help:"The services this process runs, separated by commas; empty: all."`
	Transport       string        `env:"TRANSPORT" envDefault:"kafka" oneof:"kafka,watermill,memory" help:"What carries events: our Kafka client, stock watermill-kafka, or this process's memory."`
	DataDir         string        `env:"DATA_DIR" envDefault:".millrace" help:"Where the embedded broker and database keep their state."`
	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"20s" min:"1s" max:"10m" help:"How long running requests and messages may take to finish when the process is told to stop."`

	Log      Log
	HTTP     HTTP
	Ports    Ports
	Auth     Auth
	Kafka    Kafka
	Database Database
	Outbox   Outbox
	Handlers Handlers
	Effects  Effects
	Order    Order
	Payment  Payment
	Shipping Shipping
}

// Log is how the process logs, to stderr.
type Log struct {
	Level  slog.Level `env:"LOG_LEVEL" envDefault:"info" right:"debug, info, warn or error" help:"The least important lines that are written; debug has one for each request."`
	Format string     `env:"LOG_FORMAT" envDefault:"text" oneof:"text,json" help:"How lines are written."`
}

// HTTP is where the REST API and the admin endpoints listen.
type HTTP struct {
	Host           string        `env:"HTTP_HOST" envDefault:"127.0.0.1" help:"The address the REST ports listen on; 0.0.0.0 is all of the machine's, and needs AUTH."`
	Port           int           `env:"HTTP_PORT" envDefault:"8080" min:"0" max:"65535" help:"The port with the routes of all services; 0: any free one."`
	AdminAddr      string        `env:"ADMIN_ADDR" envDefault:"127.0.0.1:9000" help:"Where /livez, /readyz, /metrics, /topology and pprof listen; if it is taken, a free port is used."`
	RequestTimeout time.Duration `env:"REQUEST_TIMEOUT" envDefault:"15s" min:"100ms" max:"1m" help:"How long one request may take; streams have no limit."`
}

// Ports are the services' own ports, on HTTP_HOST. 0: any free one.
type Ports struct {
	Order        int `env:"ORDER_PORT" envDefault:"8081" min:"0" max:"65535" help:"The order service's own port."`
	Inventory    int `env:"INVENTORY_PORT" envDefault:"8082" min:"0" max:"65535" help:"The inventory service's own port."`
	Payment      int `env:"PAYMENT_PORT" envDefault:"8083" min:"0" max:"65535" help:"The payment service's own port."`
	Notification int `env:"NOTIFICATION_PORT" envDefault:"8084" min:"0" max:"65535" help:"The notification service's own port."`
	Analytics    int `env:"ANALYTICS_PORT" envDefault:"8085" min:"0" max:"65535" help:"The analytics service's own port."`
	Shipping     int `env:"SHIPPING_PORT" envDefault:"8086" min:"0" max:"65535" help:"The shipping service's own port."`
}

// Auth is who may use the REST API.
type Auth struct {
	Mode         string `env:"AUTH" envDefault:"none" oneof:"none,apikey,jwt" help:"How callers show who they are; none is for loopback only."`
	APIKeys      Secret `env:"API_KEYS" help:"For AUTH=apikey: name:sha256:scopes, separated by commas or lines; scopes are shop and operator, joined by +."`
	JWTIssuer    string `env:"JWT_ISSUER" help:"For AUTH=jwt: what a token's iss must be."`
	JWTAudience  string `env:"JWT_AUDIENCE" help:"For AUTH=jwt: what must be among a token's aud."`
	JWTSecret    Secret `env:"JWT_SECRET" help:"For AUTH=jwt with HS256: the secret, at least 32 bytes."`
	JWTPublicKey Secret `env:"JWT_PUBLIC_KEY" help:"For AUTH=jwt with RS256 or ES256: the public key as PEM."`
	JWTKeySet    Secret `env:"JWT_JWKS" help:"For AUTH=jwt with several keys: a JSON Web Key Set, read once at the start."`
}

// Kafka is where the broker is.
type Kafka struct {
	Brokers       []string      `env:"KAFKA_BROKERS" help:"host:port of the brokers, separated by commas; empty: a broker inside this process."`
	Partitions    int           `env:"PARTITIONS" envDefault:"3" min:"1" max:"1000" help:"Partitions of each topic. It cannot be changed once there are topics, because keys would move."`
	TLS           bool          `env:"KAFKA_TLS" envDefault:"false" help:"Whether connections to the brokers are encrypted."`
	CAFile        string        `env:"KAFKA_TLS_CA" help:"PEM file of the authorities the brokers' certificates come from; empty: the system's."`
	CertFile      string        `env:"KAFKA_TLS_CERT" help:"PEM file of our own certificate, where brokers ask for one."`
	KeyFile       string        `env:"KAFKA_TLS_KEY" help:"PEM file of the key to KAFKA_TLS_CERT."`
	SASLMechanism string        `env:"KAFKA_SASL_MECHANISM" oneof:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" help:"How to log in at the brokers; empty: not at all."`
	SASLUser      string        `env:"KAFKA_SASL_USER" help:"The name to log in with."`
	SASLPassword  Secret        `env:"KAFKA_SASL_PASSWORD" help:"The password to log in with."`
	Session       time.Duration `env:"KAFKA_SESSION_TIMEOUT" envDefault:"10s" min:"6s" max:"5m" help:"How long a replica may be silent before others take its partitions; brokers set limits too."`
	EmbeddedPort  int           `env:"EMBEDDED_KAFKA_PORT" envDefault:"19092" min:"0" max:"65535" help:"The loopback port of the embedded broker; 0: any free one."`
}

// Database is where Postgres is. A service without a URL of its own uses URL.
type Database struct {
	URL             Secret `env:"DATABASE_URL" help:"postgres://user:password@host:5432/name?sslmode=verify-full; empty: a private Postgres started by this process."`
	Order           Secret `env:"ORDER_DATABASE_URL" help:"The order service's own database; empty: DATABASE_URL."`
	Inventory       Secret `env:"INVENTORY_DATABASE_URL" help:"The inventory service's own database; empty: DATABASE_URL."`
	Payment         Secret `env:"PAYMENT_DATABASE_URL" help:"The payment service's own database; empty: DATABASE_URL."`
	Notification    Secret `env:"NOTIFICATION_DATABASE_URL" help:"The notification service's own database; empty: DATABASE_URL."`
	Analytics       Secret `env:"ANALYTICS_DATABASE_URL" help:"The analytics service's own database; empty: DATABASE_URL."`
	Shipping        Secret `env:"SHIPPING_DATABASE_URL" help:"The shipping service's own database; empty: DATABASE_URL."`
	ReadConnections int    `env:"DATABASE_READ_CONNECTIONS" envDefault:"8" min:"1" max:"1000" help:"Connections to each database for the GETs, beside the store's own."`
}

// Outbox is what happens to events before they are in Kafka.
type Outbox struct {
	Cap int `env:"OUTBOX_CAP" envDefault:"1000000" min:"1" max:"1000000000" help:"Unsent events at which new orders are answered with 503, so that an outage of Kafka cannot fill the disk."`
}

// Handlers is how messages are handled.
type Handlers struct {
	Timeout      time.Duration `env:"HANDLER_TIMEOUT" envDefault:"30s" min:"100ms" max:"10m" help:"How long one try to handle a message may take."`
	Tries        int           `env:"HANDLER_TRIES" envDefault:"5" min:"1" max:"100" help:"Tries before a message becomes a dead letter. Outages are not counted: they are retried without end."`
	Backoff      time.Duration `env:"RETRY_BACKOFF" envDefault:"100ms" min:"1ms" max:"1m" help:"The wait before the second try; it doubles from try to try."`
	FloodLetters int           `env:"FLOOD_LETTERS" envDefault:"1000" min:"0" max:"1000000000" help:"Dead letters of one kind within a minute at which a service is paused, until router dlq resume; 0: never."`
	BackoffMax   time.Duration `env:"RETRY_BACKOFF_MAX" envDefault:"5s" min:"1ms" max:"10m" help:"The longest wait between two tries."`
}

// Effects is how calls to the outside are made: provider, carrier, senders.
type Effects struct {
	Timeout     time.Duration `env:"EFFECT_TIMEOUT" envDefault:"10s" min:"10ms" max:"25s" help:"How long one call to the outside may take; what is not known by then is asked again with the same key."`
	Concurrency int           `env:"EFFECT_CONCURRENCY" envDefault:"256" min:"1" max:"10000" help:"Calls to the outside under way at once, for each service."`
}

// Order is the order service's own.
type Order struct {
	Deadline time.Duration `env:"ORDER_DEADLINE" min:"100ms" max:"720h" default:"1m, or 20m with a provider that is not simulated" help:"How long an order may take to be shipped before it is cancelled; longer than PAYMENT_DEADLINE."`
}

// Payment is the payment service's own, and the breaker round its provider.
type Payment struct {
	Provider       string        `env:"PAYMENT_PROVIDER" envDefault:"simulated" help:"simulated, or the name of a gateway that was built in."`
	Deadline       time.Duration `env:"PAYMENT_DEADLINE" min:"100ms" max:"720h" default:"30s, or 15m with a provider that is not simulated" help:"How long a payment may take before it is given up."`
	CallbackSecret Secret        `env:"PAYMENT_CALLBACK_SECRET" help:"What the provider signs its callbacks with, at least 16 bytes; needed with a provider that is not simulated."`
	Window         time.Duration `env:"PROVIDER_BREAKER_WINDOW" envDefault:"10s" min:"100ms" max:"1h" help:"How far back failed calls count."`
	MinCalls       int           `env:"PROVIDER_BREAKER_MIN_CALLS" envDefault:"20" min:"1" max:"1000000" help:"Calls there must be in the window before the breaker can open."`
	FailureRatio   float64       `env:"PROVIDER_BREAKER_FAILURE_RATIO" envDefault:"0.5" min:"0.01" max:"1" help:"Failed calls to all calls in the window at which the breaker opens; then payments wait, they do not fail."`
	OpenFor        time.Duration `env:"PROVIDER_BREAKER_OPEN_FOR" envDefault:"5s" min:"10ms" max:"10m" help:"How long the provider is left alone once the breaker is open."`
	Probes         int           `env:"PROVIDER_BREAKER_PROBES" envDefault:"5" min:"1" max:"1000" help:"Calls that must succeed before the breaker closes."`
}

// Shipping is the shipping service's own.
type Shipping struct {
	CarrierStep    time.Duration `env:"CARRIER_STEP" envDefault:"1s" min:"1ms" max:"24h" help:"How long the simulated carrier takes for each step."`
	CallbackSecret Secret        `env:"CARRIER_CALLBACK_SECRET" help:"What the carrier signs its callbacks with, at least 16 bytes; empty: callbacks are refused."`
}

// AllServices are the names SERVICES can hold, in the order of the flow.
func AllServices() []string {
	return []string{"order", "inventory", "payment", "shipping", "notification", "analytics"}
}

// SimulatedProvider is the provider that is built in; deadlines are short with it.
const SimulatedProvider = "simulated"

// Port is the own port of the service of that name.
func (c Config) Port(service string) int {
	return map[string]int{
		"order": c.Ports.Order, "inventory": c.Ports.Inventory, "payment": c.Ports.Payment,
		"shipping": c.Ports.Shipping, "notification": c.Ports.Notification, "analytics": c.Ports.Analytics,
	}[service]
}

// DatabaseURL is where the service of that name keeps its rows; unset means the
// private Postgres.
func (c Config) DatabaseURL(service string) Secret {
	own := map[string]Secret{
		"order": c.Database.Order, "inventory": c.Database.Inventory, "payment": c.Database.Payment,
		"shipping": c.Database.Shipping, "notification": c.Database.Notification, "analytics": c.Database.Analytics,
	}[service]
	if own.IsSet() {
		return own
	}
	return c.Database.URL
}
