// Command otlpcollector is the OpenTelemetry Collector's receiver of OTLP over HTTP, with a sink that
// prints each batch of traces as a line of OTLP's JSON. It prints `listening on PORT` first, and ends
// with its standard input.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

func main() {
	port := flag.Int("port", 0, "where to listen; 0 is any")
	flag.Parse()
	if err := run(*port); err != nil {
		log.Fatal(err)
	}
}

func run(port int) error {
	address, err := free(port)
	if err != nil {
		return err
	}
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	settings := map[string]any{"protocols": map[string]any{"http": map[string]any{"endpoint": address}}}
	if err := confmap.NewFromStringMap(settings).Unmarshal(config); err != nil {
		return err
	}
	sink, err := consumer.NewTraces(printer())
	if err != nil {
		return err
	}
	ctx := context.Background()
	collector, err := factory.CreateTraces(ctx, receiver.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
		BuildInfo:         component.NewDefaultBuildInfo(),
	}, config, sink)
	if err != nil {
		return err
	}
	if err := collector.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	_, listening, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", listening)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return collector.Shutdown(ctx)
}

// free gives an address that nobody listens on: the receiver does not say which port it was given.
func free(port int) (string, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func printer() consumer.ConsumeTracesFunc {
	var one sync.Mutex
	return func(_ context.Context, traces ptrace.Traces) error {
		line, err := (&ptrace.JSONMarshaler{}).MarshalTraces(traces)
		if err != nil {
			return err
		}
		one.Lock()
		defer one.Unlock()
		_, err = fmt.Printf("%s\n", line)
		return err
	}
}
