"""A studio with a campaign, to be killed: `python feed_campaign.py HOME SHEET`. A line for each picture."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from studio.brand.sheet import read_sheet
from studio.campaigns import Options
from studio.executors import FakeExecutor
from studio.settings import Settings
from studio.studio import Studio


def main(home: Path, sheet: Path) -> None:
    studio = Studio.open(Settings(home=home, rows=2), FakeExecutor(0.01))
    if not studio.campaigns.recent():
        studio.campaigns.create(read_sheet(sheet.read_bytes()), Options(), "spring")
    studio.start()
    told = len(studio.images(limit=200))
    while studio.campaigns.recent()[0].state == "running":
        count = len(studio.images(limit=200))
        for _ in range(count - told):
            sys.stdout.write("picture\n")
            sys.stdout.flush()
        told = max(told, count)
        time.sleep(0.005)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
