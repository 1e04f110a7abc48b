"""The estimators: what a user makes, fits, asks and saves."""

from omokage.estimators.autoencoder import AutoEncoder
from omokage.estimators.detector import AnomalyDetector
from omokage.estimators.evaluating import evaluate_detector
from omokage.estimators.imputer import Imputer
from omokage.estimators.loading import load
from omokage.estimators.vae import VAE

__all__ = ["VAE", "AnomalyDetector", "AutoEncoder", "Imputer", "evaluate_detector", "load"]
