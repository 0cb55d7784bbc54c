/**
 * Switches the SDK's logging off. It follows AZURE_LOG_LEVEL and DEBUG, writes to stderr past our scrubber, and
 * at its highest level names addresses, accounts and headers. Values and tokens it redacts; that is its promise
 * and not ours.
 */
import { AzureLogger, setLogLevel } from "@azure/logger";

export function silenceSdk(): void {
  setLogLevel(undefined);
  AzureLogger.log = () => {
    // Nobody hears it.
  };
}
