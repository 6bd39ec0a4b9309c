package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type peer struct {
	id        string
	refusal   atomic.Int32
	calls     atomic.Int64
	cancelled atomic.Int64
}

func serve(arguments []string) {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	id := flags.String("id", "go", "what it calls itself")
	cert := flags.String("cert", "", "PEM; speaks TLS if given")
	key := flags.String("key", "", "PEM")
	port := flags.Int("port", 0, "where to listen")
	_ = flags.Parse(arguments)

	options := []grpc.ServerOption{grpc.ForceServerCodec(raw{})}
	if *cert != "" {
		credentials, err := credentials.NewServerTLSFromFile(*cert, *key)
		if err != nil {
			fail(err)
		}
		options = append(options, grpc.Creds(credentials))
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		fail(err)
	}
	peer := &peer{id: *id}
	server := grpc.NewServer(options...)
	server.RegisterService(&description, peer)
	state := health.NewServer()
	healthpb.RegisterHealthServer(server, state)
	go peer.obey(state)
	fmt.Println("listening on", listener.Addr().(*net.TCPAddr).Port)
	if err := server.Serve(listener); err != nil {
		fail(err)
	}
}

// obey does what the lines of the standard input say, and ends with them.
func (p *peer) obey(state *health.Server) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		answer := "ok"
		switch {
		case len(words) == 2 && words[0] == "refuse":
			code, _ := strconv.Atoi(words[1])
			p.refusal.Store(int32(code))
		case len(words) >= 2 && words[0] == "health":
			service := ""
			if len(words) == 3 {
				service = words[2]
			}
			value := healthpb.HealthCheckResponse_ServingStatus_value[words[1]]
			state.SetServingStatus(service, healthpb.HealthCheckResponse_ServingStatus(value))
		case len(words) == 1 && words[0] == "cancelled":
			answer = strconv.FormatInt(p.cancelled.Load(), 10)
		case len(words) == 1 && words[0] == "calls":
			answer = strconv.FormatInt(p.calls.Load(), 10)
		default:
			answer = "what?"
		}
		fmt.Println(answer)
	}
	os.Exit(0)
}

var description = grpc.ServiceDesc{
	ServiceName: "callboard.test.Peer",
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{
		// One kind of handler serves all of them: what is read and written makes the difference.
		{StreamName: "Echo", Handler: handler((*peer).echo), ServerStreams: true, ClientStreams: true},
		{StreamName: "Fail", Handler: handler((*peer).failing), ServerStreams: true, ClientStreams: true},
		{StreamName: "Late", Handler: handler((*peer).late), ServerStreams: true, ClientStreams: true},
		{StreamName: "Deadline", Handler: handler((*peer).deadline), ServerStreams: true, ClientStreams: true},
		{StreamName: "Hang", Handler: handler((*peer).hang), ServerStreams: true, ClientStreams: true},
		{StreamName: "Count", Handler: handler((*peer).count), ServerStreams: true, ClientStreams: true},
		{StreamName: "Collect", Handler: handler((*peer).collect), ServerStreams: true, ClientStreams: true},
		{StreamName: "Chat", Handler: handler((*peer).chat), ServerStreams: true, ClientStreams: true},
	},
}

func handler(serve func(*peer, grpc.ServerStream) error) grpc.StreamHandler {
	return func(server any, stream grpc.ServerStream) error {
		p := server.(*peer)
		p.calls.Add(1)
		if code := p.refusal.Load(); code != 0 {
			return status.Error(codes.Code(code), p.id+" refuses")
		}
		said, _ := metadata.FromIncomingContext(stream.Context())
		_ = stream.SetHeader(metadata.Pairs("x-served-by", p.id))
		for _, name := range []string{"x-ask", "x-ask-bin"} {
			for _, value := range said.Get(name) {
				_ = stream.SetHeader(metadata.Pairs("x-heard"+strings.TrimPrefix(name, "x-ask"), value))
			}
		}
		stream.SetTrailer(metadata.Pairs("x-parting", "bye", "x-detail-bin", "\x00\x01~"))
		return serve(p, stream)
	}
}

func receive(stream grpc.ServerStream) ([]byte, error) {
	var message []byte
	err := stream.RecvMsg(&message)
	return message, err
}

func send(stream grpc.ServerStream, message []byte) error { return stream.SendMsg(&message) }

func (p *peer) echo(stream grpc.ServerStream) error {
	message, err := receive(stream)
	if err != nil {
		return err
	}
	return send(stream, message)
}

func (p *peer) failing(stream grpc.ServerStream) error {
	message, err := receive(stream)
	if err != nil {
		return err
	}
	code, text, _ := strings.Cut(string(message), " ")
	number, _ := strconv.Atoi(code)
	return status.Error(codes.Code(number), text)
}

// late sends a message, and then fails.
func (p *peer) late(stream grpc.ServerStream) error {
	message, err := receive(stream)
	if err != nil {
		return err
	}
	if err := send(stream, []byte("first")); err != nil {
		return err
	}
	number, _ := strconv.Atoi(string(message))
	return status.Error(codes.Code(number), "after all")
}

func (p *peer) deadline(stream grpc.ServerStream) error {
	if _, err := receive(stream); err != nil {
		return err
	}
	deadline, ok := stream.Context().Deadline()
	if !ok {
		return send(stream, []byte("none"))
	}
	left := time.Until(deadline).Milliseconds()
	return send(stream, strconv.AppendInt(nil, left, 10))
}

func (p *peer) hang(stream grpc.ServerStream) error {
	// The call may be given up before its message has come.
	_, _ = receive(stream)
	<-stream.Context().Done()
	p.cancelled.Add(1)
	return context.Cause(stream.Context())
}

func (p *peer) count(stream grpc.ServerStream) error {
	message, err := receive(stream)
	if err != nil {
		return err
	}
	most, _ := strconv.Atoi(string(message))
	for number := range most {
		if err := send(stream, strconv.AppendInt(nil, int64(number), 10)); err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) collect(stream grpc.ServerStream) error {
	messages, bytes := 0, 0
	for {
		message, err := receive(stream)
		if err == io.EOF {
			return send(stream, fmt.Appendf(nil, "%d messages, %d bytes", messages, bytes))
		}
		if err != nil {
			return err
		}
		messages, bytes = messages+1, bytes+len(message)
	}
}

func (p *peer) chat(stream grpc.ServerStream) error {
	for {
		message, err := receive(stream)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := send(stream, message); err != nil {
			return err
		}
	}
}
