"""Options of `profilegym plan`."""

from typing import Annotated

import typer

from .shared import AsJson

WORK, FLEET, PRICES, PROCESSORS = "Work", "Fleet", "Prices", "Processor time"


def plan(
    users: Annotated[list[int], typer.Option(help="Number of users. Repeat it to compare.", rich_help_panel=WORK)],
    questions: Annotated[float, typer.Option(help="Questions per user.", rich_help_panel=WORK)] = 3,
    seeds: Annotated[int, typer.Option(help="Attempts per question.", rich_help_panel=WORK)] = 1,
    baseline: Annotated[bool, typer.Option(help="Whether baselines are played, too.", rich_help_panel=WORK)] = True,
    turns: Annotated[float, typer.Option(help="Turns per episode.", rich_help_panel=WORK)] = 3,
    read: Annotated[float, typer.Option(help="Tokens that a turn reads.", rich_help_panel=WORK)] = 1500,
    written: Annotated[float, typer.Option(help="Tokens that a turn writes.", rich_help_panel=WORK)] = 120,
    judge_calls: Annotated[float, typer.Option(help="Judge calls per episode.", rich_help_panel=WORK)] = 3,
    judge_read: Annotated[float, typer.Option(help="Tokens that a judge call reads.", rich_help_panel=WORK)] = 800,
    judge_written: Annotated[float, typer.Option(help="Tokens that it writes.", rich_help_panel=WORK)] = 100,
    endpoints: Annotated[int, typer.Option(help="Number of endpoints of the model.", rich_help_panel=FLEET)] = 1,
    workers: Annotated[int, typer.Option(help="Number of workers.", rich_help_panel=FLEET)] = 1,
    in_flight: Annotated[int, typer.Option(help="Concurrent episodes per worker.", rich_help_panel=FLEET)] = 256,
    latency: Annotated[float, typer.Option(help="Seconds of a turn.", rich_help_panel=FLEET)] = 1.0,
    tokens_per_second: Annotated[
        float, typer.Option(help="Tokens per second that a full endpoint writes.", rich_help_panel=FLEET)
    ] = 5000,
    judge_latency: Annotated[float, typer.Option(help="Seconds of a judge call.", rich_help_panel=FLEET)] = 1.0,
    judge_concurrency: Annotated[int, typer.Option(help="Concurrent judge calls.", rich_help_panel=FLEET)] = 64,
    price_in: Annotated[float, typer.Option(help="Of a million tokens read.", rich_help_panel=PRICES)] = 0,
    price_out: Annotated[float, typer.Option(help="Of a million tokens written.", rich_help_panel=PRICES)] = 0,
    judge_price_in: Annotated[float, typer.Option(help="The same of the judge.", rich_help_panel=PRICES)] = 0,
    judge_price_out: Annotated[float, typer.Option(help="The same of the judge.", rich_help_panel=PRICES)] = 0,
    turn_processor: Annotated[
        float, typer.Option(help="Of a worker, seconds per turn.", rich_help_panel=PROCESSORS)
    ] = 0.0015,
    judge_processor: Annotated[
        float, typer.Option(help="Of the judge's process, seconds per call.", rich_help_panel=PROCESSORS)
    ] = 0.001,
    driver_processor: Annotated[
        float, typer.Option(help="Of the driver, seconds per episode.", rich_help_panel=PROCESSORS)
    ] = 0.0001,
    as_json: AsJson = False,
) -> None:
    """Estimate time, cost and the first bottleneck of an evaluation before it is run.

    Example: profilegym plan --users 1000 --users 1000000 --questions 3 --endpoints 64 --workers 64
    """
    from ...fleet.estimate import Fleet
    from ..plan import plan

    fleet = Fleet(
        users[0], questions, seeds, baseline, endpoints, workers, in_flight, turns, read, written, latency,
        tokens_per_second, judge_calls, judge_latency, judge_concurrency, judge_read, judge_written, price_in,
        price_out, judge_price_in, judge_price_out, turn_processor, judge_processor, driver_processor,
    )  # fmt: skip
    plan(fleet, users, as_json)
