"""Health, asked by grpcio's own client."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import modelwright as mw
from modelwright.pack.artefact import Artefact
from modelwright.serve.grpc_health import MOST_WATCHES_EACH
from modelwright.serve.settings import Settings
from serve.doors import SECONDS, Desk, OneLive, channel_to, rows, serving, typed

INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def desk(released: mw.Released) -> Desk:
    return Desk(OneLive(Artefact.load(released.run / "artefact")))


@pytest.fixture(scope="module")
def channel(desk: Desk) -> Iterator[grpc.Channel]:
    with channel_to(desk) as found:
        yield found


def test_health_and_readiness_follow_the_dispatcher(channel: grpc.Channel, desk: Desk) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    kinds = health_pb2.HealthCheckResponse
    services = ("", "inference.GRPCInferenceService", "shop")
    for name in services:
        assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == kinds.SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(service="shop"), timeout=SECONDS)
    assert next(watch).status == kinds.SERVING
    desk.ready = False
    try:
        assert next(watch).status == kinds.NOT_SERVING
        for name in services:
            status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
            assert status == kinds.NOT_SERVING
    finally:
        desk.ready = True
    watch.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_watch_ends_with_the_server(desk: Desk) -> None:
    kinds = health_pb2.HealthCheckResponse
    with (
        serving(desk, Settings(models=())) as (handle, inside),
        grpc.insecure_channel(f"127.0.0.1:{handle.port}") as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert next(watch).status == kinds.SERVING
        handle.drain()
        assert next(watch).status == kinds.NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            next(watch)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        began = time.perf_counter()
        inside(handle.stop(SECONDS))
        assert time.perf_counter() - began < 5


def test_a_client_that_gives_up_is_forgotten(desk: Desk) -> None:
    with serving(desk, Settings(models=())) as (handle, _):
        with grpc.insecure_channel(f"127.0.0.1:{handle.port}") as other:
            watch = health_pb2_grpc.HealthStub(other).Watch(health_pb2.HealthCheckRequest())
            next(watch)
            watch.cancel()
            other.unary_unary(INFER)(typed(rows(1)).SerializeToString())
        assert handle.in_flight == 0


def test_watches_have_a_limit(desk: Desk) -> None:
    with (
        serving(desk, Settings(models=())) as (handle, _),
        grpc.insecure_channel(f"127.0.0.1:{handle.port}") as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest()
        watches = [stub.Watch(asked, timeout=SECONDS) for _ in range(MOST_WATCHES_EACH)]
        for watch in watches:
            next(watch)
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.Watch(asked, timeout=SECONDS))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        for watch in watches:
            watch.cancel()
