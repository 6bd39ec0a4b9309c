//! The file's shape: one struct per mapping, one field per key, each left out by default.
//!
//! Values are parsed while they are read, so what is left to check afterwards is only how they go
//! together.

use serde::Deserialize;

use super::access::{SecretFile, Sha256, TokenName, TokenScope, Variable};
use super::scalar::{
    Admit, Aggression, Allowed, Amount, Balancing, BodyRate, BoundedLoad, BufferSize, ByteSize,
    CallRate, CertifiedName, CheckPath, ClientPattern, CollectorUrl, Contact, Count, DirectoryUrl,
    FileMode, FilePath, Grace, GrpcService, Hashed, HeadSize, HeaderCount, HedgeAfter, History,
    HostName, HostPattern, HostSuffix, InFlight, LogField, LogFormat, LogPath, MaxBody, Method,
    Name, Network, OnPanic, Percent, PercentOrOff, Period, PeriodOrOff, Place, Protocol,
    RegistryUrl, RetryCause, ReuseOf, RouteName, RoutePath, SentProxy, SocketPath, Statuses,
    Switch, SyncLevel, Threads, Times, TlsVersion, TraceLimit, TracedName, TrustedPeer, Weight,
    ZoneName,
};
use super::shape::{Entries, Section, Several, Unavailable, given};
use super::variants::{
    AccessLog, Auth, Check, Explain, Hedge, Hold, Listener, MetricsOrOff, Outlier, Pull, PullToken,
    Retry, SlowStart, Store, Traces,
};

/// Declares the mappings; every key may be left out, and an unknown one is an error.
macro_rules! mappings {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty,)* })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$attr])* pub(super) $field: $type,)*
        }
    )+};
}

mappings! {
    /// The whole file.
    File {
        proxy: Section<Proxy>,
        registry: Section<Registry>,
        telemetry: Section<Telemetry>,
        defaults: Section<Policy>,
        services: Entries<Section<Policy>>,
        routes: Several<Section<Route>>,
        default_routes: Option<Switch>,
        host_suffix: Option<HostSuffix>,
    }

    /// `proxy`.
    Proxy {
        listen: Option<Several<Listener>>,
        threads: Option<Threads>,
        trusted_proxies: Several<TrustedPeer>,
        shutdown_grace: Option<Grace>,
        zone: Option<ZoneName>,
        upgrade_socket: Option<SocketPath>,
        clients: Section<Clients>,
        lean_path: Option<Switch>,
        #[serde(deserialize_with = "given")]
        acme: Option<Section<Acme>>,
    }

    /// `proxy.clients`.
    Clients {
        head_timeout: Option<Period>,
        idle: Option<Period>,
        max_head: Option<HeadSize>,
        max_headers: Option<HeaderCount>,
        min_body_rate: Option<BodyRate>,
        max_streams: Option<Count>,
    }

    /// One of `proxy.listen`, when it is not just an address.
    ListenerSettings {
        address: Option<Place>,
        protocol: Option<Protocol>,
        service: Option<Name>,
        sni: Entries<Name>,
        #[serde(deserialize_with = "given")]
        tls: Option<Section<ServerTls>>,
        proxy_protocol: Option<Switch>,
        mode: Option<FileMode>,
    }

    /// `tls` of a listener, and `registry.tls`.
    ServerTls {
        cert: Option<FilePath>,
        key: Option<FilePath>,
        ocsp: Option<FilePath>,
        certificates: Several<Section<CertificateFiles>>,
        acme: Several<CertifiedName>,
        #[serde(deserialize_with = "given")]
        clients: Option<Section<ClientCertificates>>,
        min_version: Option<TlsVersion>,
    }

    /// One of `certificates`.
    CertificateFiles {
        cert: Option<FilePath>,
        key: Option<FilePath>,
        ocsp: Option<FilePath>,
    }

    /// `clients` of a listener's `tls`.
    ClientCertificates {
        ca: Option<FilePath>,
        required: Option<Switch>,
    }

    /// `proxy.acme`.
    Acme {
        directory: Option<DirectoryUrl>,
        contact: Several<Contact>,
        terms_agreed: Option<Switch>,
        path: Option<FilePath>,
        ca: Option<FilePath>,
    }

    /// `telemetry`.
    Telemetry {
        metrics: Option<MetricsOrOff>,
        access_log: Option<AccessLog>,
        traces: Option<Traces>,
        explain: Option<Explain>,
    }

    /// `telemetry.metrics`, when it is not `off`.
    MetricsSettings {
        instances: Option<Amount>,
    }

    /// `telemetry.access_log`, when it is not `off` or just where to.
    AccessLogSettings {
        path: Option<LogPath>,
        format: Option<LogFormat>,
        fields: Option<Several<LogField>>,
        sample: Option<Percent>,
    }

    /// `telemetry.traces`, when it is not `off` or just where to.
    TracesSettings {
        endpoint: Option<CollectorUrl>,
        sample: Option<Percent>,
        limit: Option<TraceLimit>,
        name: Option<TracedName>,
    }

    /// `telemetry.explain`, when it is not `off`.
    ExplainSettings {
        sample: Option<Percent>,
        kept: Option<Amount>,
        clients: Option<Several<Network>>,
    }

    /// `registry`.
    Registry {
        listen: Option<Place>,
        store: Option<Store>,
        lease: Section<Lease>,
        admission: Option<Admit>,
        allow: Option<Several<Allowed>>,
        auth: Option<Auth>,
        pull: Option<Pull>,
        #[serde(deserialize_with = "given")]
        tls: Option<Section<ServerTls>>,
        limits: Section<Limits>,
    }

    /// `registry.auth`, when it is not `none`.
    AuthSettings {
        tokens: Option<Several<Section<Token>>>,
    }

    /// One of `registry.auth.tokens`.
    Token {
        name: Option<TokenName>,
        sha256: Option<Sha256>,
        env: Option<Variable>,
        file: Option<SecretFile>,
        scopes: Option<Several<TokenScope>>,
    }

    /// `registry.limits`.
    Limits {
        services: Option<Amount>,
        instances: Option<Amount>,
        instances_per_service: Option<Amount>,
        connections: Option<Amount>,
        per_token: Option<CallRate>,
        per_peer: Option<CallRate>,
    }

    /// `registry.store`, when it is not just a kind.
    StoreSettings {
        #[serde(deserialize_with = "given")]
        memory: Option<Section<MemoryStore>>,
        #[serde(deserialize_with = "given")]
        sqlite: Option<Section<SqliteStore>>,
        etcd: Option<Unavailable>,
    }

    /// `registry.store.memory`, which has nothing to set.
    MemoryStore {}

    /// `registry.store.sqlite`.
    SqliteStore {
        path: Option<FilePath>,
        history: Option<History>,
        max_size: Option<ByteSize>,
        sync: Option<SyncLevel>,
    }

    /// `registry.lease`.
    Lease {
        ttl: Option<Period>,
        min: Option<Period>,
        max: Option<Period>,
    }

    /// `registry.pull`, when it is not just where from.
    PullSettings {
        from: Option<Several<RegistryUrl>>,
        token: Option<PullToken>,
        ca: Option<FilePath>,
    }

    /// `registry.pull.token`.
    PullTokenSettings {
        env: Option<Variable>,
        file: Option<FilePath>,
    }

    /// `defaults` and each of `services`.
    Policy {
        balance: Option<Balancing>,
        hash_on: Option<Hashed>,
        bounded_load: Option<BoundedLoad>,
        check: Option<Check>,
        timeouts: Section<Timeouts>,
        retry: Option<Retry>,
        reuse: Option<ReuseOf>,
        outlier: Option<Outlier>,
        panic_threshold: Option<Percent>,
        panic: Option<OnPanic>,
        slow_start: Option<SlowStart>,
        load_reports: Option<Switch>,
        prefer_zone: Option<Switch>,
        limits: Section<InFlightLimits>,
        hold: Option<Hold>,
        max_body: Option<MaxBody>,
        drain: Option<Grace>,
        tls: Section<ClientTls>,
        proxy_protocol: Option<SentProxy>,
    }

    /// `tls` of a policy.
    ClientTls {
        ca: Option<FilePath>,
        cert: Option<FilePath>,
        key: Option<FilePath>,
        server_name: Option<HostName>,
        verify: Option<Switch>,
    }

    /// `retry`, when it is not `off`.
    RetrySettings {
        attempts: Option<Times>,
        budget: Option<PercentOrOff>,
        budget_min: Option<Times>,
        on: Option<Several<RetryCause>>,
        buffer: Option<BufferSize>,
        hedge: Option<Hedge>,
    }

    /// `retry.hedge`, when it is not `off`.
    HedgeSettings {
        after: Option<HedgeAfter>,
    }

    /// `outlier`, when it is not `off`.
    OutlierSettings {
        consecutive_failures: Option<Count>,
        failure_ratio: Option<PercentOrOff>,
        min_requests: Option<Count>,
        interval: Option<Period>,
        base_ejection: Option<Period>,
        max_ejection: Option<Period>,
        max_ejected: Option<Percent>,
    }

    /// `slow_start`, when it is not just how long.
    SlowStartSettings {
        window: Option<Grace>,
        aggression: Option<Aggression>,
    }

    /// `limits` of a policy.
    InFlightLimits {
        in_flight: Option<InFlight>,
        in_flight_per_instance: Option<InFlight>,
        queue: Option<Times>,
        queue_timeout: Option<Grace>,
        adaptive: Option<Switch>,
    }

    /// `hold`, when it is not `off` or just how long.
    HoldSettings {
        timeout: Option<Period>,
        max: Option<Count>,
    }

    /// `check`, when it is not `off`.
    CheckSettings {
        #[serde(deserialize_with = "given")]
        tcp: Option<Section<TcpCheck>>,
        #[serde(deserialize_with = "given")]
        http: Option<Section<HttpCheck>>,
        #[serde(deserialize_with = "given")]
        grpc: Option<Section<GrpcCheck>>,
        interval: Option<Period>,
        timeout: Option<Period>,
        fall: Option<Count>,
        rise: Option<Count>,
    }

    /// `check.tcp`, which has nothing to set.
    TcpCheck {}

    /// `check.grpc`.
    GrpcCheck {
        service: Option<GrpcService>,
    }

    /// `check.http`.
    HttpCheck {
        path: Option<CheckPath>,
        expect: Option<Several<Statuses>>,
    }

    /// `timeouts`.
    Timeouts {
        connect: Option<Period>,
        first_byte: Option<PeriodOrOff>,
        between_bytes: Option<Period>,
        request: Option<Period>,
        total: Option<PeriodOrOff>,
        idle: Option<Period>,
        tunnel: Option<PeriodOrOff>,
    }

    /// `timeouts` of a route: connections are kept by service.
    RouteTimeouts {
        connect: Option<Period>,
        first_byte: Option<PeriodOrOff>,
        between_bytes: Option<Period>,
        request: Option<Period>,
        total: Option<PeriodOrOff>,
        tunnel: Option<PeriodOrOff>,
    }

    /// One of `routes`.
    Route {
        #[serde(rename = "match")]
        matches: Section<Match>,
        service: Option<Name>,
        split: Option<Several<Section<Side>>>,
        split_on: Option<Hashed>,
        strip_prefix: Option<RoutePath>,
        name: Option<RouteName>,
        mirror: Option<Section<Mirror>>,
        timeouts: Section<RouteTimeouts>,
        max_body: Option<MaxBody>,
        retry: Option<Switch>,
    }

    /// `mirror` of a route.
    Mirror {
        service: Option<Name>,
        share: Option<Percent>,
    }

    /// `match` of a route.
    Match {
        host: Option<HostPattern>,
        path: Option<RoutePath>,
        methods: Several<Method>,
        headers: Entries<String>,
        client: Option<ClientPattern>,
    }

    /// One of `split`.
    Side {
        service: Option<Name>,
        weight: Option<Weight>,
    }
}
