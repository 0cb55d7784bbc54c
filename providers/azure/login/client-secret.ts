/** Nothing but one class of @azure/identity: a chunk of its own, loaded by the profiles that use it. */
export { ClientSecretCredential } from "@azure/identity";
