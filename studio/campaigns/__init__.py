"""Campaigns: a sheet's rows given to the queue one by one, each remembered, none lost and none twice."""

from studio.campaigns.campaigns import Campaigns
from studio.campaigns.store import CampaignView, Options, ShotView

__all__ = ["CampaignView", "Campaigns", "Options", "ShotView"]
